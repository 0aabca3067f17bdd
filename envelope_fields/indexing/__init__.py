"""Blind indexes of tables that have rows: filled online, verified, and brought to be read.

`rows` goes through a table and says what each row's index is to be; `filling` writes it where it is
not, and `verification` says where it is not; `collisions` are values that a unique index would not
take. `states` brings an index as far as its rows allow.
"""

from envelope_fields.indexing.collisions import Collision, collisions
from envelope_fields.indexing.filling import Filled, fill
from envelope_fields.indexing.rows import NoSuchIndex, find_indexes
from envelope_fields.indexing.states import IndexReport, bring_to
from envelope_fields.indexing.verification import Wrong, verify

__all__ = [
    "Collision",
    "Filled",
    "IndexReport",
    "NoSuchIndex",
    "Wrong",
    "bring_to",
    "collisions",
    "fill",
    "find_indexes",
    "verify",
]
