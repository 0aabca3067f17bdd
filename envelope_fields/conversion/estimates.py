"""How long a step over all rows takes, by some rows that are looked at and not written."""

from time import perf_counter
from typing import Any

from envelope_fields.census.columns import Column
from envelope_fields.conversion.moves import Counted, tables
from envelope_fields.conversion.moving import Compare
from envelope_fields.databases import database
from envelope_fields.jobs.statements import statements
from envelope_fields.jobs.throttle import NICE_RATIO

_SAMPLE = 500  # rows of a table
_WITHOUT_SAMPLE = 50e-6  # seconds a row, where the key of each would have to be made


def seconds_to_fill(field: Any, found: Counted) -> float:
    """Return about how many seconds it takes to fill what is left."""
    return found.remaining * max(
        (
            _seconds(column) * database(column.database).WITH_WRITING
            for column in tables(str(field))
        ),
        default=0,
    )


def seconds_to_compare(field: Any, found: Counted) -> float:
    """Return about how many seconds it takes to open and compare all rows once."""
    return found.rows * max((_seconds(column) for column in tables(str(field))), default=0)


def _seconds(column: Column) -> float:
    """Return how long a row of a table takes to be read and encrypted, or opened, with rests."""
    if callable(column.encrypted_field.key):
        return _WITHOUT_SAMPLE
    job, began = Compare(column), perf_counter()
    rows = job.stored(statements(column), None, None, None, _SAMPLE)
    if not rows:
        return 0
    job.process(rows)
    return (perf_counter() - began) / len(rows) * (1 + NICE_RATIO)
