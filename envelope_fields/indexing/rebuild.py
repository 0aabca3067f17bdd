"""The jobs: the index of each row is made of its values, and written, or compared.

They open every row. What is written goes to rows whose values, and whose index, are as they were
read: what others write meanwhile has its index from there, and is left alone.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.index import macs
from envelope_fields.indexing.rows import IndexedTable, Row
from envelope_fields.jobs.job import Change, Failed, Job, Key, Outcome, Stored, stops
from envelope_fields.jobs.keys import displayed_key
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
        for key in keys:
            instance = found.get(key)
            if instance is None:
                continue  # it was deleted meanwhile
            row = Row(self.table, instance)
            try:
                made = self._made(row)
            except (EnvelopeError, ImproperlyConfigured) as error:
                if stops(error, about_one_key=self._is_about_one_key):
                    raise
                outcome.fail(Stored(key, b"", 0), error)
            else:
                self._look(key, row, made, outcome)
        return outcome

    def _made(self, row: Row) -> bytes | None:
        """Return the index that a row is to have; None where there is nothing to index."""
        index = self.table.index
        if macs.is_retired(index):
            return None  # what it has left keeps no build from writing, and no version in use
        term = row.term()
        return None if term is None else self._value(term)

    @abstractmethod
    def _value(self, term: Any) -> bytes | None:
        """Return the index that is made of something."""

    @abstractmethod
    def _look(self, key: Key, row: Row, made: bytes | None, outcome: Outcome) -> None:
        """Add what becomes of a row."""


class Rebuild(IndexJob):
    """Writes the index of each row where it is not what the values give."""

    def _value(self, term: Any) -> bytes | None:
        table = self.table
        return macs.value_to_fill(table.index, term.alias, term, table.using)

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

    def _value(self, term: Any) -> bytes | None:
        return macs.value_to_verify(self.table.index, term.alias, term)

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
