"""Conversions: what was stored before is brought into envelopes, by `runs` of jobs.

From another package's format, in the very column: `phases` has how far a column is, and ends its
conversion; `sample` says which keys open what is there, before anything is written; `convert` is
the job over its values.

From a column in clear beside it: `obstacles` keep a field from that; `declaration` is what it
becomes, in lines of a model, and in `migration_files`. `steps` lead from one of the `column_phases`
to the next, and `single_steps` do where nothing may wait. The jobs are in `moving`, over the
`pairs` of values of each row; `counts` say how many there are, and how long it takes.

`representation` is what commands and the admin say of either.
"""
