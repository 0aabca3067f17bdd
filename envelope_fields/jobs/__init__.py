"""Online work over the rows of a column, while the application goes on.

A `job` is done with the values of one column; a run does it in all columns of its scope. `work`
goes over these in `passes`, cut into ranges of primary keys; `batches` read values, have the job
process them, and swap what is still the same, with the SQL of `statements` and within `limits`.
`runs` are paused, resumed and cancelled; `progress` records what was done and adds it up;
`dispatch` hands runs to `workers`.

Nothing is imported here: a process of a pool imports this package before Django is set up.
"""
