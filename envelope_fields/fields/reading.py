"""Reading: what opens values, sealed ones and those of queries that load no objects.

No exception that leaves here holds a plaintext: neither itself, nor one that it is chained to,
nor a variable of a frame that it passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from envelope_fields.crypto.format import HEADER_BYTES
from envelope_fields.exceptions import DecryptionFailed, EnvelopeError, KeyAccessDenied
from envelope_fields.fields.binding import BindingMixin
from envelope_fields.fields.columns import EncryptedCol, column_in, converters_of
from envelope_fields.fields.errors import (
    located,
    not_a_value,
    refuse,
    unopened,
    unread,
    without_row,
)
from envelope_fields.fields.legacy import reading as legacy
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.sealed import MISSING, SealedEnvelope, SealedValue
from envelope_fields.keyring import (
    Handle,
    decrypt,
    decrypt_sealed,
    decrypt_to_move,
    decrypt_to_verify,
    load_handle,
)
from envelope_fields.keyring.age import uptime
from envelope_fields.policy.principals import bound_actor

Reader = Callable[[Any, Any, Any], Any]
Opener = Callable[[SealedValue], Any]

_HEADER = slice(HEADER_BYTES)
_new = object.__new__


class ReadingMixin(BindingMixin):
    """Turns the bytes in a field's column into values, sealed or opened."""

    masks: Any
    legacy: Any

    @cached_property
    def legacy_formats(self) -> tuple[Any, ...]:
        """The readers of what other packages have stored in the column."""
        return self.legacy or legacy.of_installed(self)

    def from_text(self, text: str) -> Any:
        """Return a value of the text that its plaintext is, where that is UTF-8."""
        raise NotImplementedError

    def from_plaintext(self, plaintext: bytes) -> Any:
        """Return the value that `to_plaintext` made `plaintext` of."""
        return self.from_text(plaintext.decode())

    def get_col(self, alias: str, output_field: Any = None) -> EncryptedCol:
        # Never one that is kept: each query says of its own whether it loads objects by it.
        return EncryptedCol(alias, self, output_field)

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
        """Read a value for a job that writes what follows from it, which is no use of it.

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

    @cached_property
    def opened(self) -> Opener:
        """What opens a sealed value, when a caller looks at it."""
        if self._reads_plainly:
            return self._opener
        column = self.get_col(self.model._meta.db_table)

        def opened(sealed: SealedValue) -> Any:
            if type(sealed.envelope) is not bytes:  # SQLite stores any type
                return self._opener(sealed)
            return self.from_db_value(SealedEnvelope.of(sealed), column, None)

        return opened

    @cached_property
    def _opener(self) -> Opener:
        from_plaintext, masks, field_path = self.from_plaintext, self.masks, self.field_path
        contexts = () if self.is_bound else self.contexts
        decrypt_bound = self._decrypt_bound

        def open_sealed(sealed: SealedValue) -> Any:
            try:
                if contexts:
                    plaintext = decrypt_sealed(sealed.envelope, contexts, field_path, sealed.handle)
                else:
                    plaintext = decrypt_bound(sealed)
            except Exception as error:
                if masks and isinstance(error, KeyAccessDenied):
                    return Mask(sealed)
                problem = unopened(sealed, error)
                if problem is error:
                    raise
                raise problem from error
            try:
                return from_plaintext(plaintext)
            except Exception as error:  # a decoder may raise anything, with the plaintext in it
                failure = type(error).__name__
            del plaintext
            raise located(sealed, not_a_value(self, sealed.envelope, failure))

        return legacy.sealed_opener(self, open_sealed) if self.legacy_formats else open_sealed

    def portable(self, sealed: SealedValue) -> bytes:
        """Return what a pickle has of a sealed value, which is nothing in clear."""
        return legacy.portable(self, sealed) if self.legacy_formats else sealed.envelope

    def _decrypt_bound(self, sealed: SealedValue) -> bytes:
        """Return the plaintext of a value that is bound to its row, as that was loaded."""
        if sealed.row is MISSING:
            raise DecryptionFailed("it is not known of which row it is")
        contexts = self.contexts_of(sealed.row)
        return decrypt_sealed(
            sealed.envelope, contexts, self.field_path, sealed.handle, contexts[0]
        )

    def sealer(self, kind: type[SealedValue] | None = None) -> Reader:
        """Return the converter by which one query loads objects: it opens and raises nothing.

        Handles are kept for the query, so that a value costs no more than a look into a
        dictionary; and for the one who loads, who may be another by the next row.
        """
        if self.legacy_formats:
            legacy.load(self)
        known: dict[Any, Handle | None] = {}
        context, field_path = b"" if self.is_bound else self.contexts[0], self.field_path
        loader, kind = bound_actor(), kind or SealedValue

        def seal(value: Any, expression: Any, connection: Any) -> SealedValue | None:
            nonlocal loader
            if value is None:
                return None
            if bound_actor() is not loader:
                known.clear()
                loader = bound_actor()
            header = value[_HEADER] if type(value) is bytes else None  # SQLite stores any type
            try:
                handle = known[header]
                is_stale = handle is not None and (
                    uptime() >= handle.table.half_life
                    or handle.policy_data not in (None, handle.table.policy_data)
                )
            except KeyError:
                is_stale = True
            if is_stale:
                handle = known[header] = load_handle(header, context, field_path)
            sealed = _new(kind)  # as by its constructor, without a call: this is for every value
            sealed.field = self
            sealed.envelope = value
            sealed.handle = handle
            sealed.row = MISSING
            return sealed

        return seal


def reader(
    field: Any,
    decrypt: Callable[..., bytes] = decrypt,
    contexts: Sequence[bytes] | None = None,
) -> Reader:
    """Return the converter of a field's column where values are wanted, and not objects.

    Args:
        field: the field.
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
