"""Blind indexes of tables that have rows: filled online, verified, and brought to be read.

`rows` says what the index of each row is to be; `rebuild` has the jobs that write it where it is
not, or say where it is not; `runs` are about one index, and start these; `collisions` are values
that a unique index would not take. `states` brings an index as far as its rows allow, and
`steps` says what a single step takes.
"""

from envelope_fields.indexing.collisions import Collision, collisions
from envelope_fields.indexing.rows import NoSuchIndex, find_indexes
from envelope_fields.indexing.runs import active_run, last_verification, run, start
from envelope_fields.indexing.states import IndexReport, bring_to
from envelope_fields.indexing.steps import change_state

__all__ = [
    "Collision",
    "IndexReport",
    "NoSuchIndex",
    "active_run",
    "bring_to",
    "change_state",
    "collisions",
    "find_indexes",
    "last_verification",
    "run",
    "start",
]
