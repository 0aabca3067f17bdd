"""The attribute of an encrypted field: objects are loaded with sealed values, which it opens.

No exception that leaves here holds a plaintext: neither itself, nor one that it is chained to,
nor a variable of a frame that it passed.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from django.db import connection
from django.db.models.query_utils import DeferredAttribute

from envelope_fields.crypto.format import HEADER_BYTES
from envelope_fields.exceptions import DecryptionFailed, KeyAccessDenied
from envelope_fields.fields.binding import BindingMixin
from envelope_fields.fields.columns import EncryptedCol
from envelope_fields.fields.errors import located, not_a_value, unopened
from envelope_fields.fields.legacy import reading as legacy
from envelope_fields.fields.masks import Mask, is_shown_for
from envelope_fields.fields.prepared import NOT_LOADED, PLAIN_TYPES, Scoped, StoredEnvelope
from envelope_fields.fields.sealed import (
    MISSING,
    AssignedValue,
    BroughtValue,
    SealedEnvelope,
    SealedValue,
)
from envelope_fields.keyring.age import uptime
from envelope_fields.keyring.handles import Handle, decrypt_sealed, load_handle
from envelope_fields.policy.principals import bound_actor

Reader = Callable[[Any, Any, Any], Any]
Opener = Callable[[SealedValue], Any]

_HEADER = slice(HEADER_BYTES)
_new = object.__new__


class EncryptedAttribute(DeferredAttribute):
    """The attribute of an encrypted field: it opens what the object holds, and keeps the value."""

    field: Any

    def __init__(self, field: Any) -> None:
        super().__init__(field)
        self._name = field.attname
        # Whose values are opened at once; of rows that are bound to, it is looked whether they are
        # known.
        self._field_that_opens: Any = None if field.masks or field.is_bound else field
        self._row_in: Callable[[dict[str, Any]], Any] = _comes_later
        self._is_bound = field.is_bound

    def note_row(self, row_in: Callable[[dict[str, Any]], Any]) -> None:
        """Have values know their row when they are loaded.

        Args:
            row_in: returns it, given the attributes of an object, all of which come before the
                value; KeyError where one is deferred.
        """
        self._row_in = row_in

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None:
            return self
        data, name = instance.__dict__, self._name
        held = data.get(name, MISSING)
        # Most are, and it is the fast way. What another field opens may be a mask.
        if type(held) is SealedValue and held.field is self._field_that_opens:
            value = held.field.opened(held)
        else:
            if held is MISSING:
                self._load(instance, cls)
                held = data[name]
            if not isinstance(held, SealedValue):
                return held
            if held.row is MISSING:
                held.belongs_to(data)
            value = held.open()
            if not held.is_replaced or isinstance(value, Mask):
                return value
        found = data.get(name, held)
        if found is held:
            data[name] = value
            return value
        return value if isinstance(found, SealedValue) else found  # of another thread

    def __set__(self, instance: Any, value: Any) -> None:
        data = instance.__dict__
        if type(value) is SealedValue and value.row is MISSING:  # it is being loaded
            try:
                value.row = self._row_in(data)
            except KeyError:
                if self._is_bound and self._row_in is not _comes_later:
                    return  # what it is bound to is deferred, and so is the value
        elif type(value) in PLAIN_TYPES and not isinstance(data.get(self._name), SealedValue):
            pass  # most are
        elif value is NOT_LOADED:
            return
        else:
            value = self._assigned(instance, value)
        data[self._name] = value

    def _load(self, instance: Any, cls: Any) -> None:
        """Load a value that was deferred."""
        if not self._is_bound or hasattr(instance._state, "fetch_mode"):
            super().__get__(instance, cls)
            return
        if not instance._is_pk_set():
            raise AttributeError(f"{self._name!r} cannot be loaded: the object was not saved.")
        self.fetch_one(instance)
        if self._name not in instance.__dict__:
            raise instance._meta.model.DoesNotExist(f"{self.field}: its row is gone.")

    def fetch_one(self, instance: Any) -> None:
        """Load the value of one object (Django 6.1).

        Of a row that it is bound to, what the object has stays, which may be about to be saved.
        """
        if self._is_bound:
            self.fetch_many([instance])
        else:
            super().fetch_one(instance)  # of Django 6.1

    def _assigned(self, instance: Any, value: Any) -> Any:
        """Return what an object holds when it is given a value."""
        data, held = instance.__dict__, instance.__dict__.get(self._name)
        if value is None and self.field.converts is not None:
            value = self.field.loaded_null(data)
        if isinstance(value, SealedValue):
            if value.row is MISSING:
                value.belongs_to(data)
            elif type(value) is SealedValue and value is not held:
                # Django makes objects of rows in this way, too.
                is_new = instance._state.adding and self._name not in data
                return value if is_new else value.as_kind(AssignedValue)
            return value
        if type(value) is Scoped:
            value = value.value  # of get_or_create()
        if type(value) is StoredEnvelope:
            return BroughtValue(self.field, value.envelope)
        if isinstance(held, SealedValue) and is_shown_for(self.field, value, held):
            return held  # what was shown in the place of the value does not replace it
        return value.sealed if isinstance(value, Mask) else value

    def __delete__(self, instance: Any) -> None:
        try:
            del instance.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def fetch_many(self, instances: Iterable[Any]) -> None:
        """Load the values of several objects at once, and open none (Django 6.1)."""
        lacking = [
            each for each in instances if self._name not in each.__dict__ and each._is_pk_set()
        ]
        if not lacking:
            return
        manager = self.field.model._base_manager.using(lacking[0]._state.db)
        keys = [self.field.key_of(each) for each in lacking]
        found = manager.only(self._name).in_bulk(keys)
        for each, key in zip(lacking, keys, strict=True):
            # The key of a single one may be a text where that of the row is a UUID.
            row = found.get(key) if len(lacking) > 1 else next(iter(found.values()), None)
            if row is not None:
                each.__dict__[self._name] = row.__dict__[self._name]


def _comes_later(data: dict[str, Any]) -> Any:
    raise KeyError


# -- The field of the attribute --------------------------------------------------------------------


class LoadingMixin(BindingMixin):
    """Loads values sealed, and opens each when a caller looks at the attribute."""

    col_class: type[EncryptedCol] = EncryptedCol
    masks: Any
    legacy: Any
    from_db_value: Reader

    @cached_property
    def legacy_formats(self) -> tuple[Any, ...]:
        """The readers of what other packages have stored in the column."""
        return self.legacy or legacy.of_installed(self)

    @cached_property
    def _reads_plainly(self) -> bool:
        """Whether no subclass has a `from_db_value` of its own."""
        raise NotImplementedError

    def from_text(self, text: str) -> Any:
        """Return a value of the text that its plaintext is, where that is UTF-8."""
        raise NotImplementedError

    def from_plaintext(self, plaintext: bytes) -> Any:
        """Return the value that `to_plaintext` made `plaintext` of."""
        return self.from_text(plaintext.decode())

    def get_col(self, alias: str, output_field: Any = None) -> EncryptedCol:
        # Never one that is kept: each query says of its own whether it loads objects by it.
        return self.col_class(alias, self, output_field)

    @cached_property
    def opened(self) -> Opener:
        """What opens a sealed value, when a caller looks at it."""
        if self._reads_plainly:
            return self._opener
        column = self.get_col(self.model._meta.db_table)

        def opened(sealed: SealedValue) -> Any:
            if type(sealed.envelope) is not bytes:  # SQLite stores any type
                return self._opener(sealed)
            return self.from_db_value(SealedEnvelope.of(sealed), column, connection)

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
