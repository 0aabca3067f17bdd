"""Verification: the values of every row are opened, and its index compared with what they give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.index import macs
from envelope_fields.indexing.rows import IndexedTable, Row, batches, stops

MISSING = "missing"  # there is a value, and no index
STALE = "stale"  # there is an index, and nothing to index; or it is retired
DIFFERS = "differs"  # the index is that of another value, or under another key version


@dataclass(frozen=True, slots=True)
class Wrong:
    """A row whose index is not that of its values.

    Attributes:
        index: `app_label.Model.field`.
        database: the alias in `DATABASES`.
        schema: of the table; None where there is one schema.
        row: its primary key, as text.
        cause: `missing`, `stale`, `differs`, or the class of the error that kept it from being
            compared.
        message: the error; else empty. It says nothing of the value.
    """

    index: str
    database: str
    schema: str | None
    row: str
    cause: str
    message: str = ""


@dataclass(slots=True)
class Verified:
    """What became of a batch: how many rows were compared, and those that are wrong."""

    rows: int
    wrong: list[Wrong]


def verify(table: IndexedTable) -> Iterator[Verified]:
    """Compare the index of every row, batch by batch.

    Args:
        table: the index, which is begun, in one database.

    Raises:
        IndexNotBegun: nothing is known of the index.
        EnvelopeError, ImproperlyConfigured: no index can be made.
        RowsHidden: rows are hidden from this role.
        DatabaseError: the database failed.
    """
    for rows in batches(table):
        found = [(row, *_cause(table, row)) for row in rows]
        yield Verified(
            len(rows),
            [
                Wrong(str(table.index), table.using, table.schema, row.name, cause, message)
                for row, cause, message in found
                if cause
            ],
        )


def _cause(table: IndexedTable, row: Row) -> tuple[str, str]:
    """Return what is wrong with a row, and the error where there is one; empty where nothing is."""
    if macs.is_retired(table.index):
        return (STALE if row.stored is not None else ""), ""
    try:
        term = row.term()
    except EnvelopeError as error:
        if stops(error):
            raise
        return type(error).__name__, str(error)
    if term is None:
        return (STALE if row.stored is not None else ""), ""
    if row.stored is None:
        return MISSING, ""
    made = macs.value_to_verify(table.index, term.alias, term)
    return ("" if made == row.stored else DIFFERS), ""
