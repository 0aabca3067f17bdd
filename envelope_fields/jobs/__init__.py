"""Online work over the rows of a column, while the application goes on.

A `job` is done with the values of one column; a run does it in all columns of its scope. `work`
goes over these in passes, each cut into `ranges` of primary keys; `batches` read values, have the
job process them, and swap what is still the same, with the SQL of `statements`. `runs` are paused,
resumed and cancelled; `representation` is what is said of them. A run is shared out as `tasks`,
which `dispatch` hands to `workers`.

Nothing is imported here: a process of a pool imports this package before Django is set up.
"""
