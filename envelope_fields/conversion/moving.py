"""The jobs of a column that moves: the new one filled, both compared, the old one emptied.

Each row is locked for one UPDATE, and looked at once more before it: what the application, or an
old build of it, has written meanwhile stays.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured

from envelope_fields.census.columns import Column
from envelope_fields.conversion.column_phases import phase_now, refuse_changed
from envelope_fields.conversion.pairs import Pair, Pairs
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import WrappingKey
from envelope_fields.databases import database
from envelope_fields.exceptions import (
    DecryptionFailed,
    EnvelopeError,
    MalformedEnvelope,
    MasterKeyNotFound,
)
from envelope_fields.fields.keys import RowKey
from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.jobs.job import Change, Key, Outcome, Stored, Wanted, stops
from envelope_fields.jobs.statements import Statements
from envelope_fields.models import ColumnPhase
from envelope_fields.rotation.rows import RowsJob

# An envelope that is not valid, or of another row or key, says as little as one of another value.
_NOT_READ = (MalformedEnvelope, DecryptionFailed, MasterKeyNotFound)


class FieldJob(RowsJob):
    """Writes envelopes of a field, of what its rows have besides, in one of its tables."""

    replaces_payload = True
    reads_payloads = True

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self._field: Any = column.encrypted_field
        self._using = column.database

    def process(self, stored: Sequence[Stored]) -> Outcome:
        outcome, keys = Outcome(), [value.key for value in stored]
        self._rows.load(keys)  # before the values, which may be of other rows by then
        read = self._begin(keys)
        for key in keys:
            if key not in read:
                continue  # it was deleted meanwhile, or the application has written one
            try:
                change = self._change(key, read[key])
            except Exception as error:  # a key= of the project may raise anything
                if self._stops(error):
                    raise
                outcome.fail(Stored(key, b"", 0), error)
                continue
            if change is None:
                outcome.kept += 1
            else:
                outcome.changes.append(change)
        return outcome

    @abstractmethod
    def _begin(self, keys: Sequence[Key]) -> Mapping[Key, Any]:
        """Return what is read of some rows, and have keys at hand for it."""

    @abstractmethod
    def _change(self, key: Key, read: Any) -> Change | None:
        """Return what is to be written to a row; None where it is as it should be."""

    def _stops(self, error: Exception) -> bool:
        is_about_keys = stops(error, about_one_key=not self._aliases.differ)
        return is_about_keys or isinstance(error, ImproperlyConfigured)


class _Moving(FieldJob):
    """What the three have in common."""

    condition: ClassVar[str]  # SQL; which rows are looked at
    phases: ClassVar[frozenset[ColumnPhase]]  # in which it writes

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self.locks_rows = True
        self._pairs = Pairs(column)
        self._indexes = [str(index.column) for index in self._field.indexes]
        self._read: dict[Key, Pair] = {}  # before
        self._now: dict[Key, Pair] = {}  # what was locked
        self._wrapping: dict[str, WrappingKey] = {}  # by alias, for the values of this portion

    def stored(self, ask: Statements, wanted: Wanted) -> list[Stored]:
        found = ask.rows_where(self.condition, self._pairs.names[0], *wanted[1:])
        return [Stored(row[:-1], b"", row[-1]) for row in found]

    def _begin(self, keys: Sequence[Key]) -> Mapping[Key, Pair]:
        self._read = self._pairs.read(keys)
        there = [key for key in keys if key in self._read]
        written = (self._read[key].new for key in there)
        self._transfer.begin({_version_id(new) for new in written if new} - {b""})
        may_encrypt = [key for key in there if self._may_encrypt(self._read[key])]
        self._aliases.load(may_encrypt, self._transfer)
        self._wrapping = {}
        return self._read

    def _may_encrypt(self, pair: Pair) -> bool:
        """Whether a key may be needed to write a row."""
        return True

    def _encrypted(self, key: Key, old: Unencrypted) -> bytes:
        alias = self._aliases.of_row(key)
        to = self._wrapping.get(alias) or self._wrapping_key(alias)
        return self._pairs.encrypted(old, to, self._rows.contexts(key)[0])

    def _wrapping_key(self, alias: str) -> WrappingKey:
        """Return what wraps all values of this portion that go under an alias."""
        values = self._aliases.number_of(alias)
        try:
            to = self._transfer.wrapping_key(alias, values=values)
        except MasterKeyNotFound:
            if not isinstance(self._field.key, RowKey):
                raise
            self._field.key.make(alias, self._using)  # as the first write of a tenant does
            self._transfer.begin()
            to = self._transfer.wrapping_key(alias, values=values)
        self._wrapping[alias] = to
        return to

    def _agrees(self, key: Key, old: Unencrypted, new: bytes) -> bool:
        """Whether both columns say the same, of a row where neither is NULL."""
        try:
            return self._pairs.agrees(old, new, self._transfer, self._rows.contexts(key))
        except _NOT_READ as error:
            if self._stops(error):
                raise
            return False

    # In the transaction that writes

    def lock(self, ask: Statements, keys: Sequence[Key]) -> Collection[Key]:
        # Before anything is read: SQLite, which locks no rows, would not let it write after that.
        database(self._using).lock_for_writing(self._field.model._meta.db_table)
        self._now = self._pairs.read(keys, lock=True)
        return self._now

    def unmoved(self, changes: Sequence[Change]) -> Sequence[Change]:
        self._refuse_other_phase()
        now = self._now
        return [
            change
            for change in self._rows.unmoved(changes)
            if self._read[change.key].is_as(now.get(change.key))
        ]

    def _refuse_other_phase(self) -> None:
        """Raise if the phase was changed: what rows mean would be another thing.

        It is read after the rows. What a process wrote by a later phase was seen in them only if
        that phase is seen here.
        """
        refuse_changed(self._field, phase_now(self._field), *self.phases)


class Compare(_Moving):
    """Opens every row, and has the new column say what the old one does where they differ.

    Both are written at once, so that a row that differs was written by a build that knows the old
    column alone.
    """

    condition = "{old} IS NOT NULL OR {new} IS NOT NULL"
    phases = frozenset(ColumnPhase) - {ColumnPhase.CLEAR, ColumnPhase.ONLY}

    def _change(self, key: Key, pair: Pair) -> Change | None:
        if pair.old is None:
            return None if pair.new is None else Change(key, b"", None)
        old = self._pairs.old(pair)
        if pair.new is not None and self._agrees(key, old, pair.new):
            return None
        return Change(key, b"", self._encrypted(key, old))

    def write(self, ask: Statements, changes: Sequence[Change]) -> int:
        filled = [change for change in changes if change.new is not None]
        emptied = [change.key for change in changes if change.new is None]
        written = ask.write_values(filled) if filled else 0
        if emptied:
            written += ask.clear(self._pairs.names[1:], emptied)
        if self._indexes:  # of the value that was there
            ask.clear(self._indexes, [change.key for change in changes])
        return written


class Fill(Compare):
    """Writes an envelope where only the old column has a value; takes it away where it has none.

    What both have is compared later.
    """

    condition = "({old} IS NULL) <> ({new} IS NULL)"

    def _agrees(self, key: Key, old: Unencrypted, new: bytes) -> bool:
        return True  # it was written meanwhile


class Empty(_Moving):
    """Empties the old column where it says what the new one does, or that says nothing.

    In the phase `only`, a write of the application empties the old column itself. So a row that
    differs was written by an old build, or was restored, and its value is nowhere else: where the
    new column is empty, it goes there.
    """

    condition = "{old} IS NOT NULL"
    phases = frozenset({ColumnPhase.ONLY})

    def _may_encrypt(self, pair: Pair) -> bool:
        return pair.new is None

    def _change(self, key: Key, pair: Pair) -> Change | None:
        if pair.old is None:
            return None
        old = self._pairs.old(pair)
        if pair.new is not None and self._agrees(key, old, pair.new):
            return Change(key, b"", None)
        if pair.new is not None or self._indexes:  # lookups would not find it
            raise WrittenByOldBuild
        return Change(key, b"", self._encrypted(key, old))

    def write(self, ask: Statements, changes: Sequence[Change]) -> int:
        filled = [change for change in changes if change.new is not None]
        if filled:
            ask.write_values(filled)
        return ask.clear(self._pairs.names[:1], [change.key for change in changes])


class WrittenByOldBuild(EnvelopeError):
    """The old column was written after the application had begun to write the new one alone."""

    def __init__(self) -> None:
        super().__init__(
            "The old column holds another value than the new one: it was written by a build, or by "
            "SQL, that knows it alone. Save the row with the value that is right, or set the old "
            "column to NULL."
        )


def _version_id(new: bytes) -> bytes:
    is_envelope = new.startswith(layout.FORMAT_VERSION) and len(new) > layout.HEADER_BYTES
    return new[1 : layout.HEADER_BYTES] if is_envelope else b""
