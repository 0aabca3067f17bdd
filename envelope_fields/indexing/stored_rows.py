"""The rows of a batch, as a job has read them.

What Django makes of a row is asked where an index depends on other columns than encrypted ones.
Where it does not, as with most, what the job has read is all that it takes.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from envelope_fields.fields.index.rows import term_of_stored
from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.indexing.rows import IndexedTable, Row, made_term, no_normal_form, opened
from envelope_fields.jobs.job import Key, Stored
from envelope_fields.jobs.statements import statements
from envelope_fields.rotation.rows import Rows


class StoredRow:
    """A row as the driver gave it; see `Row`.

    Args:
        table: the index.
        quick_term: what makes the term of a value, where there is one and it takes no more.
        columns: what it has in the columns that are `compared`.
    """

    __slots__ = ("_quick_term", "_table", "columns", "stored")

    def __init__(self, table: IndexedTable, quick_term: Any, columns: tuple[Any, ...]) -> None:
        self._table, self._quick_term, self.columns = table, quick_term, columns
        stored = columns[0]
        if not (stored is None or type(stored) is bytes):  # SQLite has text, too
            stored = stored.encode() if isinstance(stored, str) else bytes(stored)
        self.stored: bytes | None = stored

    def term(self) -> Any:
        quick_term, stored = self._quick_term, self.columns[1]
        if quick_term is None or stored is None:
            return made_term(self._table.index, self._opened)
        try:
            return quick_term(stored)
        except (TypeError, ValueError) as error:  # they may show the value
            cause = type(error).__name__
        raise no_normal_form(self._table.index, cause)

    def _opened(self, field: Any) -> Unencrypted:
        return opened(field, self.columns[1 + self._table.index.source_fields.index(field)])


class StoredRows:
    """Finds the rows of a table that a job has read.

    Args:
        table: the index.
    """

    def __init__(self, table: IndexedTable) -> None:
        index, self._table = table.index, table
        self._ask = statements(table.column)
        is_bound = any(field.is_bound for field in index.source_fields)
        depends = bool(index.scope_columns) or is_bound
        self._rows = Rows(table.column, table.names()) if depends else None
        self._quick_term = term_of_stored(index)

    def of(self, batch: Sequence[Stored]) -> Iterator[tuple[Key, Row | StoredRow]]:
        """Yield those that are still there, each with its key."""
        return self._objects(self._rows, batch) if self._rows else self._as_read(batch)

    def _objects(self, rows: Rows, batch: Sequence[Stored]) -> Iterator[tuple[Key, Row]]:
        found = rows.of([each.key for each in batch])
        for key, *_ in batch:
            if key in found:
                yield key, Row(self._table, found[key])

    def _as_read(self, batch: Sequence[Stored]) -> Iterator[tuple[Key, StoredRow]]:
        long = [each.key for each in batch if each.beside is None]
        found = self._ask.columns(long, self._table.compared) if long else {}
        for key, _, _, beside in batch:
            columns = beside or found.get(key)
            if columns is not None:
                yield key, StoredRow(self._table, self._quick_term, columns)
