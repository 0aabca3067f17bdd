"""Which columns hold encrypted values, what their bytes mean, and how many values are in them.

`columns` finds the columns, with the schema that each is in; a column's codec says which key
version a stored value names and what a rewrap replaces; `values` counts those of a column, and
`rows` those of all; `versions` has what the keys' database says of the versions; `text_copies` and
`uncounted` name what is elsewhere.
"""

from envelope_fields.census.columns import CensusFailed
from envelope_fields.census.rows import CensusRow, census
from envelope_fields.census.uncounted import NotCounted, not_counted
from envelope_fields.census.versions import KeyVersion

__all__ = [
    "CensusFailed",
    "CensusRow",
    "KeyVersion",
    "NotCounted",
    "census",
    "not_counted",
]
