"""The jobs: the index of each row is made of its values, and written; or it is compared.

They open every row. What is written goes to rows whose values, and whose index, are as they were
read: what others write meanwhile has its index from there, and is left alone.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.index import macs
from envelope_fields.fields.index.rows import term_of_stored
from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.indexing.rows import IndexedTable, Row, made_term, no_normal_form, opened
from envelope_fields.jobs import job
from envelope_fields.jobs.statements import Statements, statements
from envelope_fields.rotation.rows import Rows

COLLIDES = "Collision"
MISSING = "Missing"  # there is a value, and no index
STALE = "Stale"  # there is an index, and nothing to index; or it is retired
DIFFERS = "Differs"  # the index is that of another value, or under another key version

_MESSAGES = {
    MISSING: "It has a value, and no index.",
    STALE: "It has an index, and no value that would be in one.",
    DIFFERS: "Its index is that of another value, or under another key version.",
}


class StoredRow:
    """A row as the driver gave it, in the columns that are `compared`; see `Row`."""

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


_Row = Row | StoredRow
_Opened = tuple[job.Key, _Row, Any]  # and what its index is made of


class IndexJob(job.Job):
    """Makes the index of each row of a table.

    Args:
        table: the index, which is begun.
        only_missing: whether rows that have an index are passed over.
    """

    reads_payloads = True

    def __init__(self, table: IndexedTable, *, only_missing: bool = False) -> None:
        self.table = table
        self._only_missing = only_missing
        index = table.index
        is_bound = any(field.is_bound for field in index.source_fields)
        # What Django makes of a row is asked where an index depends on other columns, too. Where it
        # does not, as with most, what the job has read is all that it takes.
        depends = bool(index.scope_columns) or is_bound
        self._loaded = Rows(table.column, table.names()) if depends else None
        self._ask, self._quick_term = statements(table.column), term_of_stored(index)
        keys = [source.field.key for source in index.sources]
        self._is_about_one_key = index.only_alias is not None and not any(map(callable, keys))

    def stored(self, ask: Statements, wanted: job.Wanted) -> list[job.Stored]:
        return ask.rows(*wanted[1:], self.table.made_of)

    def process(self, stored: Sequence[job.Stored]) -> job.Outcome:
        outcome = job.Outcome()
        batch = [each for each in stored if not (self._only_missing and each.head)]
        outcome.kept = len(stored) - len(batch)
        # What a retired one has left keeps no build from writing, and no version in use.
        is_retired = macs.is_closed(self.table.index)
        by_alias: dict[str, list[_Opened]] = defaultdict(list)
        for key, row in self._rows_of(batch):
            try:
                term = None if is_retired else row.term()
            except (EnvelopeError, ImproperlyConfigured) as error:
                self._fail(key, error, outcome)
                continue
            if term is None:
                self._look(key, row, None, outcome)
            else:
                by_alias[term.alias].append((key, row, term))
        is_mixed = len(by_alias) > 1 or bool(outcome.changes)
        for alias, rows in by_alias.items():
            self._make(alias, rows, outcome)
        if is_mixed:  # changes are written in the order of their keys
            places = {each.key: place for place, each in enumerate(batch)}
            outcome.changes.sort(key=lambda change: places[change.key])
        return outcome

    def _rows_of(self, batch: Sequence[job.Stored]) -> Iterator[tuple[job.Key, _Row]]:
        """Yield those rows of a batch that are still there, each with its key."""
        if self._loaded is not None:
            there = self._loaded.of([each.key for each in batch])
            yield from ((key, Row(self.table, there[key])) for key, *_ in batch if key in there)
            return
        long = [each.key for each in batch if each.beside is None]
        found = self._ask.columns(long, self.table.compared) if long else {}
        for key, _, _, beside in batch:
            columns = beside or found.get(key)
            if columns is not None:
                yield key, StoredRow(self.table, self._quick_term, columns)

    def _make(self, alias: str, rows: Sequence[_Opened], outcome: job.Outcome) -> None:
        """Make the indexes of rows under one search key."""
        try:
            made = self._values(alias, [term for _, _, term in rows])
        except (EnvelopeError, ImproperlyConfigured) as error:
            for key, _, _ in rows:
                self._fail(key, error, outcome)
            return
        for (key, row, _), value in zip(rows, made, strict=True):
            self._look(key, row, value, outcome)

    def _fail(
        self, key: job.Key, error: EnvelopeError | ImproperlyConfigured, outcome: job.Outcome
    ) -> None:
        if job.stops(error, about_one_key=self._is_about_one_key):
            raise error
        outcome.fail(job.Stored(key, b"", 0), error)

    @abstractmethod
    def _values(self, alias: str, terms: Sequence[Any]) -> Sequence[bytes | None]:
        """Return the indexes that are made of some values under one search key."""

    @abstractmethod
    def _look(self, key: job.Key, row: _Row, made: bytes | None, outcome: job.Outcome) -> None:
        """Add what becomes of a row."""


class Rebuild(IndexJob):
    """Writes the index of each row where it is not what the values give."""

    def _values(self, alias: str, terms: Sequence[Any]) -> Sequence[bytes | None]:
        return macs.values_to_fill(self.table.index, alias, terms, self.table.using)

    def _look(self, key: job.Key, row: _Row, made: bytes | None, outcome: job.Outcome) -> None:
        if made == row.stored:
            outcome.kept += 1
        else:
            outcome.changes.append(job.Change(key, row.columns, made))

    def write(self, ask: Statements, changes: Sequence[job.Change]) -> int:
        return ask.swap_made(changes, self.table.compared)

    def refused(self, change: job.Change, error: Exception) -> job.Failed:
        failed = super().refused(change, error)
        if not (self.table.index.unique and isinstance(error, IntegrityError) and change.new):
            return failed
        others = statements(self.table.column).keys_of_value(change.new)
        other = next((job.displayed_key(key) for key in others if key != change.key), "")
        return job.Failed(
            failed.stored, COLLIDES, f"It has the normal form of {other or 'another row'}."
        )


class Verification(IndexJob):
    """Compares the index of each row with what its values give."""

    writes = False

    def _values(self, alias: str, terms: Sequence[Any]) -> Sequence[bytes | None]:
        return macs.values_to_verify(self.table.index, alias, terms)

    def _look(self, key: job.Key, row: _Row, made: bytes | None, outcome: job.Outcome) -> None:
        cause = _cause(made, row.stored)
        if cause:
            outcome.failed.append(job.Failed(job.Stored(key, b"", 0), cause, _MESSAGES[cause]))
        else:
            outcome.kept += 1


def _cause(made: Any, stored: Any) -> str:
    """Return what is wrong with an index; empty where nothing is."""
    if made == stored:
        return ""
    if stored is None:
        return MISSING
    return STALE if made is None else DIFFERS
