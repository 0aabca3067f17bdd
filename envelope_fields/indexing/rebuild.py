"""The jobs, and what they go over: the index of each row is made of its values, and written.

Or it is compared. They open every row. What is written goes to rows whose values, and whose index,
are as they were read: what others write meanwhile has its index from there, and is left alone.
"""

from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError

from envelope_fields.census.columns import Column
from envelope_fields.databases import database
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.index import macs
from envelope_fields.indexing.rows import IndexedTable, Row, find_indexes
from envelope_fields.indexing.stored_rows import StoredRow, StoredRows
from envelope_fields.jobs import job
from envelope_fields.jobs.job import Change, Failed, Job, Key, Outcome, Stored, displayed_key, stops
from envelope_fields.jobs.statements import Statements, statements
from envelope_fields.models import RotationKind, RotationRun
from envelope_fields.rotation.scope import can_be_written, is_replica

COLLIDES = "Collision"
MISSING = "Missing"  # there is a value, and no index
STALE = "Stale"  # there is an index, and nothing to index; or it is retired
DIFFERS = "Differs"  # the index is that of another value, or under another key version

_MESSAGES = {
    MISSING: "It has a value, and no index.",
    STALE: "It has an index, and no value that would be in one.",
    DIFFERS: "Its index is that of another value, or under another key version.",
}


_Row = Row | StoredRow
_Opened = tuple[Key, _Row, Any]  # and what its index is made of


class IndexJob(Job):
    """Makes the index of each row of a table.

    Args:
        table: the index, which is begun.
        only_missing: whether rows that have an index are passed over.
    """

    reads_payloads = True

    def __init__(self, table: IndexedTable, *, only_missing: bool = False) -> None:
        self.table = table
        self._only_missing = only_missing
        self._rows = StoredRows(table)
        keys = [source.field.key for source in table.index.sources]
        self._is_about_one_key = table.index.only_alias is not None and not any(map(callable, keys))

    def stored(
        self,
        ask: Statements,
        version_ids: Sequence[bytes] | None,
        after: Key | None,
        until: Key | None,
        rows: int,
    ) -> list[Stored]:
        return ask.rows(after, until, rows, self.table.made_of)

    def process(self, stored: Sequence[Stored]) -> Outcome:
        outcome = Outcome()
        batch = [each for each in stored if not (self._only_missing and each.head)]
        outcome.kept = len(stored) - len(batch)
        # What a retired one has left keeps no build from writing, and no version in use.
        is_retired = macs.is_closed(self.table.index)
        by_alias: dict[str, list[_Opened]] = defaultdict(list)
        for key, row in self._rows.of(batch):
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
        for alias, opened in by_alias.items():
            self._make(alias, opened, outcome)
        if is_mixed:  # changes are written in the order of their keys
            places = {each.key: place for place, each in enumerate(batch)}
            outcome.changes.sort(key=lambda change: places[change.key])
        return outcome

    def _make(self, alias: str, opened: Sequence[_Opened], outcome: Outcome) -> None:
        """Make the indexes of rows under one search key."""
        try:
            made = self._values(alias, [term for _, _, term in opened])
        except (EnvelopeError, ImproperlyConfigured) as error:
            for key, _, _ in opened:
                self._fail(key, error, outcome)
            return
        for (key, row, _), value in zip(opened, made, strict=True):
            self._look(key, row, value, outcome)

    def _fail(
        self, key: Key, error: EnvelopeError | ImproperlyConfigured, outcome: Outcome
    ) -> None:
        if stops(error, about_one_key=self._is_about_one_key):
            raise error
        outcome.fail(Stored(key, b"", 0), error)

    @abstractmethod
    def _values(self, alias: str, terms: Sequence[Any]) -> Sequence[bytes | None]:
        """Return the indexes that are made of some values under one search key."""

    @abstractmethod
    def _look(self, key: Key, row: _Row, made: bytes | None, outcome: Outcome) -> None:
        """Add what becomes of a row."""


class Rebuild(IndexJob):
    """Writes the index of each row where it is not what the values give."""

    def _values(self, alias: str, terms: Sequence[Any]) -> Sequence[bytes | None]:
        return macs.values_to_fill(self.table.index, alias, terms, self.table.using)

    def _look(self, key: Key, row: _Row, made: bytes | None, outcome: Outcome) -> None:
        if made == row.stored:
            outcome.kept += 1
        else:
            outcome.changes.append(Change(key, row.columns, made))

    def write(self, ask: Statements, changes: Sequence[Change]) -> int:
        return ask.swap_made(changes, self.table.compared)

    def refused(self, change: Change, error: Exception) -> Failed:
        failed = super().refused(change, error)
        if not (self.table.index.unique and isinstance(error, IntegrityError) and change.new):
            return failed
        others = statements(self.table.column).keys_of_value(change.new)
        other = next((displayed_key(key) for key in others if key != change.key), "")
        return Failed(
            failed.stored, COLLIDES, f"It has the normal form of {other or 'another row'}."
        )


class Verification(IndexJob):
    """Compares the index of each row with what its values give."""

    writes = False

    def _values(self, alias: str, terms: Sequence[Any]) -> Sequence[bytes | None]:
        return macs.values_to_verify(self.table.index, alias, terms)

    def _look(self, key: Key, row: _Row, made: bytes | None, outcome: Outcome) -> None:
        cause = _cause(made, row.stored)
        if cause:
            outcome.failed.append(Failed(Stored(key, b"", 0), cause, _MESSAGES[cause]))
        else:
            outcome.kept += 1


def _cause(made: Any, stored: Any) -> str:
    """Return what is wrong with an index; empty where nothing is."""
    if made == stored:
        return ""
    if stored is None:
        return MISSING
    return STALE if made is None else DIFFERS


# -- What runs are about ---------------------------------------------------------------------------


KINDS = (RotationKind.REBUILD_INDEX, RotationKind.VERIFY_INDEX)


class IndexScope(job.Scope):
    """The rows of a blind index, in all databases and schemas.

    Args:
        label: `app_label.Model.field` of its column.
        kind: what is done with them.
        only_missing: whether rows that have an index are passed over.
    """

    most_passes = 3
    why_some_stay = (
        "could not be written: others wrote them, or held locks on their rows, in each pass. Run "
        "it again."
    )

    def __init__(self, label: str, kind: str, *, only_missing: bool = False) -> None:
        self._label = label.lower()
        self._verifies = kind == RotationKind.VERIFY_INDEX
        self._only_missing = only_missing

    def columns(self) -> list[Column]:
        return [table.column for table in self._tables]

    def version_ids(self, column: Column) -> None:
        return None  # every row is looked at

    def count(self, column: Column) -> Counter[UUID | None]:
        return Counter({None: _rows_in(IndexedTable(column.field, column))})

    def count_remaining(self, column: Column) -> Counter[UUID | None]:
        return Counter()  # NULL is right for some values: only a look tells

    def sees_only_by_looking(self, column: Column) -> bool:
        return not self._verifies

    def job(self, column: Column) -> IndexJob:
        table = IndexedTable(column.field, column)
        if self._verifies:
            return Verification(table)
        return Rebuild(table, only_missing=self._only_missing)

    @cached_property
    def _tables(self) -> list[IndexedTable]:
        """Those that are written: a replica, or a view of them, has the same rows."""
        return [
            table
            for table in find_indexes([self._label])
            if not is_replica(table.using) and can_be_written(table.column.relation)
        ]


def register() -> None:
    """Say what runs of our kinds are about."""
    for kind in KINDS:
        job.register(kind, scope_of)


def scope_of(run: RotationRun) -> IndexScope:
    """Return what a run is about.

    After its first pass, what is wrong has been written: by it, or by those who wrote the row.
    """
    [label] = run.only_fields
    return IndexScope(label, run.kind, only_missing=run.pass_number > 1)


def _rows_in(table: IndexedTable) -> int:
    """Count the rows of a table.

    Raises:
        RowsHidden: some would be hidden.
        ColumnNotThere: the table lacks the column of the index.
        DatabaseError: they could not be counted.
    """
    column = table.column
    stored = f"stored.{column.column_sql}"  # or SQLite takes the name of no column for a text
    with table.read():
        [[rows, _]] = database(column.database).fetch(
            f"SELECT count(*), count({stored}) FROM {column.table_sql} AS stored"  # noqa: S608
        )
    return int(rows)
