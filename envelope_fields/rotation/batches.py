"""Batches: read what is in front of the payloads, move it, and swap it where it is still the same.

A batch locks rows for one UPDATE, and nothing while it reads or computes. Killed anywhere, it has
happened and is counted, or it has not: how many were moved is written in the same transaction, or
in one that is committed right after, where keys are in another database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.census.columns import Column
from envelope_fields.conf import configuration
from envelope_fields.databases import database
from envelope_fields.models import RotationKind
from envelope_fields.rotation.interruption import put_off
from envelope_fields.rotation.limits import BatchSize, Limits, Pace
from envelope_fields.rotation.moves import Failed, Mover
from envelope_fields.rotation.patience import Trouble, is_about_rows, trouble
from envelope_fields.rotation.portions import portions
from envelope_fields.rotation.re_encrypting import ReEncrypt
from envelope_fields.rotation.rewrapping import Rewrap
from envelope_fields.rotation.statements import Change, Key, Statements, Stored, statements

_Answer = TypeVar("_Answer")

_TOO_LARGE = (
    "ValueTooLarge",
    "It is larger than max_allowed_packet of the server, which would cut it. Raise that first.",
)


@dataclass(slots=True)
class Tally:
    """What became of the values of a batch.

    Attributes:
        moved: they are under another version now.
        skipped: somebody else wrote, deleted or locked them meanwhile; the next sweep looks again.
        kept: they are where they belong already.
        failed: they could not be opened.
    """

    moved: int = 0
    skipped: int = 0
    kept: int = 0
    failed: list[Failed] = field(default_factory=list)

    @property
    def values(self) -> int:
        return self.moved + self.skipped + self.kept + len(self.failed)


def _unrecorded(moved: int) -> None:
    """Nobody counts."""


def mover(column: Column, kind: str, ask: Statements) -> Mover:
    """Return what moves the values of a column."""
    return Rewrap(column) if kind == RotationKind.REWRAP else ReEncrypt(column, ask)


class Batches:
    """Goes through rows of one column in the order of their primary keys.

    Args:
        column: the column.
        kind: what becomes of its values, a `RotationKind`.
        limits: how politely.
        record: writes to the keys' database how many more were moved, where that and the move are
            committed together.
    """

    def __init__(
        self,
        column: Column,
        kind: str,
        limits: Limits,
        record: Callable[[int], object] = _unrecorded,
    ) -> None:
        self.column = column
        self._record = record
        self._statements = statements(column)
        self._using = column.database
        _refuse_without_autocommit(self._statements.connection)
        self._limits = limits
        self._pace = Pace(limits)
        self._size = BatchSize(limits)
        self._mover = mover(column, kind, self._statements)

    def between(
        self, version_ids: Sequence[bytes], after: Key | None, until: Key
    ) -> Iterator[Tally]:
        """Move the values under these versions, in rows behind `after` and up to `until`.

        Yields once for each batch, when it is committed, and rests after that.

        Raises:
            EnvelopeError, ImproperlyConfigured: no value under these keys can be moved, or the
                rows are hidden.
            Error: the database failed, and it was not for a reason that passes.
        """
        self._patiently(self._refuse_hidden)
        while True:
            rows = self._size.rows
            stored = self._patiently(self._reading(version_ids, after, until, rows))
            if not stored:
                return
            tally = self._moved(self._statements.only(version_ids, stored))
            yield tally
            self._pace.after(tally.values)
            if len(stored) < rows:
                return
            after = stored[-1].key

    def _refuse_hidden(self) -> None:
        database(self._using).refuse_hidden(self.column.table_sql)

    def _reading(
        self, version_ids: Sequence[bytes], after: Key | None, until: Key, rows: int
    ) -> Callable[[], list[Stored]]:
        return lambda: self._statements.heads(version_ids, after, until, rows)

    def _moved(self, stored: list[Stored]) -> Tally:
        began = monotonic()
        tally = Tally()
        for portion in portions(self._fitting(stored, tally), by_size=self._mover.whole):
            moves = self._mover.moves(portion)
            tally.kept += moves.kept
            tally.failed += moves.failed
            self._swap(moves.changes, tally)
        tally.skipped = len(stored) - tally.moved - tally.kept - len(tally.failed)
        self._size.took(monotonic() - began)
        return tally

    def _fitting(self, stored: list[Stored], tally: Tally) -> list[Stored]:
        """Report the values that are too large for the database as it is set up now."""
        largest = self._statements.largest(whole=self._mover.whole)
        if largest is None:
            return stored
        large = [value for value in stored if value.size > largest]
        tally.failed += [Failed(value, *_TOO_LARGE) for value in large]
        return [value for value in stored if value.size <= largest] if large else stored

    def _swap(self, changes: Sequence[Change], tally: Tally) -> None:
        """Swap what is still the same; halve it where it is refused, or takes too long.

        What somebody else has locked all along stays: the next sweep comes by again.
        """
        parts, troubles = [changes] if changes else [], 0
        while parts and troubles < self._limits.tries:
            part = parts.pop()
            try:
                tally.moved += self._swap_once(part, only_free=troubles > 0)
            except Error as error:
                if is_about_rows(error):
                    parts += _halves(part) if len(part) > 1 else _refused(part, error, tally)
                    continue
                what = self._passing(error, troubles)
                troubles += 1
                if what is Trouble.SLOW:
                    self._size.shrink()
                parts += _halves(part) if what is Trouble.SLOW and len(part) > 1 else [part]

    def _swap_once(self, changes: Sequence[Change], *, only_free: bool) -> int:
        began = monotonic()
        with ExitStack() as at_last, self._other_transaction(), transaction.atomic(self._using):
            self._statements.limit_waiting(self._limits.lock_seconds, self._limits.batch_seconds)
            if only_free:
                free = self._statements.lock_what_is_free([change.key for change in changes])
                changes = [change for change in changes if change.key in free]
            moved = self._statements.swap(changes, whole=self._mover.whole) if changes else 0
            if not self._mover.may_still_write(began):  # the next sweep does it, under other keys
                transaction.set_rollback(True, using=self._using)
                return 0
            if moved:
                at_last.enter_context(put_off())
                self._record(moved)
            return moved

    def _other_transaction(self) -> AbstractContextManager[Any]:
        """Return the transaction of the keys' database, where that is another one."""
        keys = configuration().database
        return nullcontext() if keys == self._using else transaction.atomic(keys)

    def _patiently(self, ask: Callable[[], _Answer]) -> _Answer:
        for attempt in range(self._limits.tries):
            try:
                return ask()
            except Error as error:
                if attempt == self._limits.tries - 1:
                    raise
                self._passing(error, attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    def _passing(self, error: Error, attempt: int) -> Trouble:
        """Rest, so that the next try may go better; raise what will not pass."""
        connection = self._statements.connection
        what = trouble(error, connection)
        is_last = attempt == self._limits.tries - 1
        if what is None or connection.in_atomic_block or (what is Trouble.LOST and is_last):
            raise error
        if what is Trouble.LOST:
            connection.close()
        sleep(min(0.05 * 2**attempt, 1))
        return what


def _refuse_without_autocommit(connection: BaseDatabaseWrapper) -> None:
    if not connection.in_atomic_block and not connection.get_autocommit():
        raise ImproperlyConfigured(
            f"The database {connection.alias!r} has autocommit switched off, so no batch would be "
            "committed before the last. Switch it on for the rotation."
        )


def _halves(changes: Sequence[Change]) -> list[Sequence[Change]]:
    middle = len(changes) // 2
    return [changes[middle:], changes[:middle]]


def _refused(changes: Sequence[Change], error: Error, tally: Tally) -> list[Sequence[Change]]:
    """Report a row that the database does not let change; nothing of it is left to be done."""
    tally.failed += [
        Failed(
            Stored(change.key, change.head, 0),
            type(error).__name__,
            "The database refused the new value: a constraint or a trigger of its table does.",
        )
        for change in changes
    ]
    return []
