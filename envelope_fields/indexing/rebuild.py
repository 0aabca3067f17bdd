"""The jobs: the index of each row is made of its values, and written, or compared.

They open every row. What is written goes to rows whose values, and whose index, are as they were
read: what others write meanwhile has its index from there, and is left alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.index import macs
from envelope_fields.indexing.rows import IndexedTable, Row
from envelope_fields.jobs.job import Change, Failed, Job, Key, Outcome, Stored, displayed_key, stops
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


_Opened = tuple[Key, Row, Any]  # and what its index is made of


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
        self._rows = Rows(table.column, table.names())
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
        keys = [each.key for each in stored if not (self._only_missing and each.head)]
        outcome.kept = len(stored) - len(keys)
        found = self._rows.of(keys) if keys else {}
        # What a retired one has left keeps no build from writing, and no version in use.
        is_retired = macs.is_closed(self.table.index)
        by_alias: dict[str, list[_Opened]] = defaultdict(list)
        for key in keys:
            instance = found.get(key)
            if instance is None:
                continue  # it was deleted meanwhile
            row = Row(self.table, instance)
            try:
                term = None if is_retired else row.term()
            except (EnvelopeError, ImproperlyConfigured) as error:
                self._fail(key, error, outcome)
                continue
            if term is None:
                self._look(key, row, None, outcome)
            else:
                by_alias[term.alias].append((key, row, term))
        for alias, opened in by_alias.items():
            self._make(alias, opened, outcome)
        if len(by_alias) > 1:  # changes are written in the order of their keys
            places = {key: place for place, key in enumerate(keys)}
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
    def _look(self, key: Key, row: Row, made: bytes | None, outcome: Outcome) -> None:
        """Add what becomes of a row."""


class Rebuild(IndexJob):
    """Writes the index of each row where it is not what the values give."""

    def _values(self, alias: str, terms: Sequence[Any]) -> Sequence[bytes | None]:
        return macs.values_to_fill(self.table.index, alias, terms, self.table.using)

    def _look(self, key: Key, row: Row, made: bytes | None, outcome: Outcome) -> None:
        if made == row.stored:
            outcome.kept += 1
        else:
            outcome.changes.append(Change(key, row.reads, made))

    def write(self, ask: Statements, changes: Sequence[Change]) -> int:
        table = self.table
        return ask.swap_made(changes, [*table.made_of, str(table.index.column)])

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

    def _look(self, key: Key, row: Row, made: bytes | None, outcome: Outcome) -> None:
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
