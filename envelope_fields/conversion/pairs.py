"""The two columns of a field that moves: read together, row by row, and compared.

Nothing here shows a value: values are held by prepared ones, and errors say where they are from.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db import connections
from django.db.models import IntegerField, JSONField
from django.db.models.expressions import Col

from envelope_fields.census.columns import Column
from envelope_fields.crypto import envelope, format as layout
from envelope_fields.crypto.envelope import UnwrapFailed, WrappingKey
from envelope_fields.databases.errors import is_about_reading
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.prepared import PreparedValue, Unencrypted
from envelope_fields.fields.reading import converters_of
from envelope_fields.fields.validation import refusing
from envelope_fields.fields.writing import guarded
from envelope_fields.jobs.job import Key
from envelope_fields.jobs.statements import statements
from envelope_fields.keyring.transfer import Transfer


class UnreadableValue(EnvelopeError):
    """The old column holds what its own field does not read, or the encrypted one does not take."""


class _Unread(PreparedValue):
    """What a row has in the old column, and its driver makes no value of."""

    __slots__ = ()


_UNREAD = _Unread()


class Pair(PreparedValue):
    """What a row has in the old column and in the new one, as the driver gave it."""

    __slots__ = ("new", "old")

    def __init__(self, old: Any, new: Any) -> None:
        self.old = old
        self.new = None if new is None else bytes(new)

    def is_as(self, other: Pair | None) -> bool:
        """Whether nothing was written since."""
        return other is not None and self.new == other.new and _unchanged(self.old, other.old)


class Pairs:
    """The pairs of a table, which is that of the column of an encrypted field."""

    def __init__(self, column: Column) -> None:
        field: Any = column.encrypted_field
        plain = field.plain_field
        self.ask = statements(column)
        self.names = [str(plain.column), str(field.column)]
        self._field, self._plain = field, plain
        self._is_json = isinstance(field, JSONField)  # whose null is a value
        self._is_integer = isinstance(field, IntegerField)
        self._plaintext_of = refusing(field, guarded(field))
        connection = connections[column.database]
        col = Col(column.model._meta.db_table, plain)  # the column itself, whatever the phase
        self._converters = converters_of(col, connection)
        self._col, self._connection = col, connection

    def read(self, keys: Sequence[Key], *, lock: bool = False) -> dict[Key, Pair]:
        """Return what some rows have now.

        Args:
            keys: of the rows, in their order.
            lock: whether to lock them, and leave out those that others have locked.
        """
        found = {key: Pair(old, new) for key, (old, new) in self._columns(keys, lock).items()}
        nulls = [key for key, pair in found.items() if pair.old is None]
        # A driver may make None of what is not NULL, such as a day that there is not.
        for key in self.ask.keys_with_value(nulls, self.names[0]) if nulls else ():
            found[key].old = _UNREAD
        return found

    def _columns(self, keys: Sequence[Key], lock: bool) -> dict[Key, tuple[Any, ...]]:
        """Return both columns of some rows; row by row, where one of them cannot be read."""
        try:
            return self.ask.columns(keys, self.names, lock=lock)
        except Exception as error:
            if not is_about_reading(error):
                raise
        if len(keys) > 1:
            middle = len(keys) // 2
            return {**self._columns(keys[:middle], lock), **self._columns(keys[middle:], lock)}
        found = self.ask.columns(keys, self.names[1:], lock=lock)
        return {key: (_UNREAD, new) for key, (new,) in found.items()}

    def old(self, pair: Pair) -> Unencrypted:
        """Return what the old column says, which is not NULL, as its field reads it.

        Raises:
            UnreadableValue: it does not, or it would be NULL, or another value, in the other one.
        """
        self.refuse_unread(pair)
        prepared = self._converted(pair) if self._converters else Unencrypted(pair.old, None)
        if self._is_cut(prepared):
            raise self._not_storable("a number with a fraction")
        if self._field.is_null(prepared.value) and not self._is_json:
            raise UnreadableValue(
                f"{self._field}: the old column holds an empty value, and this field NULL instead. "
                "Write NULL there."
            )
        return prepared

    def refuse_unread(self, pair: Pair) -> None:
        """Raise `UnreadableValue` if the driver made no value of what is in the old column."""
        if pair.old is _UNREAD:
            raise self._unread("the driver of the database")

    def _converted(self, pair: Pair) -> Unencrypted:
        prepared = Unencrypted(pair.old, None)
        try:
            for convert in self._converters:
                prepared.value = convert(prepared.value, self._col, self._connection)
        except Exception as error:  # of a field of the project, with the value in it
            cause = type(error).__name__
        else:
            return prepared
        raise self._unread(f"{self._plain.name} ({cause})")

    def _is_cut(self, prepared: Unencrypted) -> bool:
        """Whether a value is a number that would lose its fraction; SQLite stores any."""
        return self._is_integer and type(prepared.value) is float and prepared.value % 1 != 0

    def _unread(self, by: str) -> UnreadableValue:
        return self._problem(f"{by} does not read")

    def _not_storable(self, cause: str) -> UnreadableValue:
        return self._problem(f"this field does not store ({cause})")

    def _problem(self, what: str) -> UnreadableValue:
        return UnreadableValue(
            f"{self._field}: the old column holds what {what}. Correct it there."
        )

    def _plaintext(self, old: Unencrypted) -> Any:
        try:
            return self._plaintext_of(old)
        except (FieldError, ValidationError, TypeError, ValueError, ArithmeticError) as error:
            cause = type(error).__name__
        raise self._not_storable(cause)

    def encrypted(self, old: Unencrypted, to: WrappingKey, context: bytes) -> bytes:
        """Return a value of the old column as an envelope, or raise `UnreadableValue`."""
        return envelope.encrypt(to, self._plaintext(old), context)

    def agrees(
        self, old: Unencrypted, new: bytes, transfer: Transfer, contexts: Sequence[bytes]
    ) -> bool:
        """Whether an envelope holds what the old column says, which is not NULL.

        Raises:
            EnvelopeError: it does not open.
            UnreadableValue: as `encrypted` raises it.
        """
        layout.parse(new)
        opened = self._opened(new, transfer, contexts)
        if opened == self._plaintext(old):
            return True
        return _same(self._field.from_plaintext(opened), old.value, strictly=self._is_json)

    def _opened(self, new: bytes, transfer: Transfer, contexts: Sequence[bytes]) -> bytes:
        opened_by = transfer.unwrapping_key(new[: layout.DERIVATION_BYTES])
        for context in contexts[:-1]:
            try:
                return envelope.decrypt(opened_by, new, context)
            except UnwrapFailed:
                continue
        return envelope.decrypt(opened_by, new, contexts[-1])


def _unchanged(before: Any, now: Any) -> bool:
    is_nan = before != before and now != now
    return bool(is_nan or (type(before) is type(now) and before == now))


def _same(one: Any, other: Any, *, strictly: bool) -> bool:
    """Whether two values are the same to an application, however they are written.

    JSON tells true from 1, and not 1 from 1.0: databases write numbers in their own way.
    """
    if not strictly:
        return bool(one == other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _same(one[key], other[key], strictly=True) for key in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _same(*each, strictly=True) for each in zip(one, other, strict=True)
        )
    alike = type(one) is type(other) or (_is_number(one) and _is_number(other))
    return alike and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
