"""Reading values where no objects are loaded: those of queries, of verification and of jobs.

No exception that leaves here holds a plaintext: neither itself, nor one that it is chained to,
nor a variable of a frame that it passed.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied
from envelope_fields.fields.attribute import LoadingMixin, Reader
from envelope_fields.fields.columns import column_in
from envelope_fields.fields.errors import not_a_value, refuse, unread, without_row
from envelope_fields.fields.legacy import reading as legacy
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.sealed import SealedEnvelope, SealedValue
from envelope_fields.keyring.values import decrypt, decrypt_to_move, decrypt_to_verify


class ReadingMixin(LoadingMixin):
    """Turns the bytes in a field's column into values."""

    @property
    def converter(self) -> Reader:
        """What turns the bytes of this field's column into values."""
        # A subclass has something to add where it has a method of its own.
        if self.is_bound:
            raise without_row(self)
        return self.reader if self._reads_plainly else self.from_db_value

    @cached_property
    def _reads_plainly(self) -> bool:
        return type(self).from_db_value is ReadingMixin.from_db_value

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        column = column_in(expression)
        if column is None:
            raise refuse(self, f"{type(expression).__name__}() computed on its envelopes")
        if getattr(column, "clear", None) is not None:
            for convert in converters_of(column.clear, connection):
                value = convert(value, expression, connection)
            return value
        if type(value) is SealedEnvelope:
            return self._opener(value.sealed)
        if self.is_bound:
            raise without_row(self)
        return self.reader(value, expression, connection)

    @cached_property
    def reader(self) -> Reader:
        """The fast way through: a function for this field alone."""
        return reader(self)

    @cached_property
    def verifier(self) -> Reader:
        """What reads as `reader` does, and counts as no use of the value."""
        return reader(self, decrypt_to_verify)

    def verify(self, value: bytes, contexts: Sequence[bytes]) -> Any:
        """Read a value that is bound to its row, as `verifier` does those of other fields."""
        return reader(self, decrypt_to_verify, contexts)(value, None, None)

    def read_to_move(self, value: bytes, contexts: Sequence[bytes] | None = None) -> Any:
        """Read a value for a job that writes what follows from it, which does not count as a use.

        Args:
            value: as it is stored.
            contexts: what it may be bound to, where it is bound to its row.

        Raises:
            KeyAccessDenied: the principal may not re-encrypt it.
            EnvelopeError: it does not open.
        """
        read = reader(self, decrypt_to_move, contexts) if contexts else self._mover
        found = read(value, None, None)
        if isinstance(found, Mask):
            raise KeyAccessDenied(f"{self}: its values may not be opened for that.")
        return found

    @cached_property
    def _mover(self) -> Reader:
        return reader(self, decrypt_to_move)


def reader(
    field: Any,
    decrypt: Callable[..., bytes] = decrypt,
    contexts: Sequence[bytes] | None = None,
) -> Reader:
    """Return the converter of a field's column where values are wanted, and not objects.

    Args:
        decrypt: what asks the keyring.
        contexts: what values may be bound to; None is what all of the field are.
    """
    contexts, from_plaintext = contexts or field.contexts, field.from_plaintext
    field_path, masks = field.field_path, field.masks

    def read(value: Any, expression: Any, connection: Any) -> Any:
        if value is None:
            return None
        try:
            plaintext = decrypt(value, contexts, field_path)
        except (EnvelopeError, TypeError) as error:
            if masks and isinstance(error, KeyAccessDenied):
                return Mask(SealedValue(field, value))
            raise unread(field, value, error) from error
        try:
            return from_plaintext(plaintext)
        except Exception as error:  # a decoder may raise anything, with the plaintext in it
            failure = type(error).__name__
        del plaintext
        raise not_a_value(field, value, failure)

    if not field.legacy_formats:
        return read
    return legacy.column_reader(
        field, read, to_verify=decrypt in (decrypt_to_move, decrypt_to_verify)
    )


def converters_of(column: Any, connection: Any) -> list[Any]:
    """Return what makes values of what a database gives for a column, its own converters first."""
    return [
        *connection.ops.get_db_converters(column),
        *column.get_db_converters(connection),
    ]
