"""Envelopes that come from outside: what fixtures and drafts bring, and are given.

They go into a column as they are. Raw saves ask no field, but the attributes, for what to store; so
an object holds prepared values while it is saved as it is, and its own before and after.

Drafts are rows kept as text, and made of it again by `to_python()` and the constructor, where
nothing else passes the text of an envelope: forms and serializers refuse it as a value before. They
are those of django-modelcluster and Wagtail, and of wagtail-localize for what it can translate.
"""

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.exceptions import FieldError
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from envelope_fields import keyring
from envelope_fields.crypto import format
from envelope_fields.crypto.envelope import UnwrapFailed
from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.fields.conversion.attribute import find_emptied
from envelope_fields.fields.errors import named
from envelope_fields.fields.legacy.base import is_envelope as is_stored_envelope
from envelope_fields.fields.masks import Mask, masked_in, refuse_mask
from envelope_fields.fields.patches import extend
from envelope_fields.fields.prepared import (
    Kept,
    PreparedValue,
    StoredCol,
    StoredEnvelope,
    Unencrypted,
)
from envelope_fields.fields.sealed import (
    MISSING,
    AssignedValue,
    BroughtValue,
    SealedValue,
    encrypted_fields,
    sealed_in,
)
from envelope_fields.fields.types import FieldBase
from envelope_fields.fields.validation import is_envelope
from envelope_fields.fields.writing import is_json_null
from envelope_fields.models import KeyState

_LOST = (KeyState.PENDING_DELETION, KeyState.DESTROYED)


def storable(field: Any, stored: StoredEnvelope, using: str) -> bytes:
    """Return an envelope that is to be stored as it is.

    Its key may come later in the fixture. One that is there, and is about to be destroyed or gone,
    would take the value with it: the count of what is under it is over. The attempt is recorded.

    Args:
        field: the field whose column it goes to.
        stored: the envelope.
        using: the database that it goes to.

    Raises:
        FieldError: it is bound to another row than its object's.
        MasterKeyUnusable: its key or version is pending deletion or destroyed; or the version is
            not committed, and goes to another database; or the keys' database could not be read.
    """
    try:
        version = keyring.version_of(format.parse(stored.envelope).version_id)
        goes_with = keyring.rows.rolled_back_with(field.model, using)
        keyring.rows.refuse_uncommitted(version, goes_with)
    except MasterKeyNotFound:
        return stored.envelope
    except MasterKeyUnusable as error:
        raise named(field, error) from error
    for what, state in (("key", version.key_state), ("version", version.state)):
        if state in _LOST:
            keyring.uses.refused(version.version_id, keyring.uses.WRITE_FIELD)
            raise named(
                field,
                MasterKeyUnusable(
                    f"an envelope under {version} is not stored, because its {what} is "
                    f"{state.replace('_', ' ')}. Cancel the deletion first, where it is pending; "
                    "what is under a destroyed key cannot be read any more."
                ),
            )
    if field.is_bound and stored.instance is not None:
        _refuse_other_row(field, stored)
    return stored.envelope


def _refuse_other_row(field: Any, stored: StoredEnvelope) -> None:
    """Raise if an envelope is bound to another row than the one that it is stored in."""
    contexts = field.contexts_of(field.row_of(stored.instance))
    try:
        keyring.values.decrypt_to_verify(stored.envelope, contexts, field.field_path)
    except UnwrapFailed:
        raise FieldError(
            f"{field} is bound to its row, and this envelope was made for another one, with other "
            "values of the columns that it is bound to: dump it with its primary key, and without "
            "natural keys."
        ) from None
    except EnvelopeError:
        pass  # it may not be read here, and `verify_envelopes` finds it


class StoringMixin(FieldBase):
    """Takes envelopes that a fixture or a draft brings, and gives them to one that is dumped."""

    has_drafts = False
    label: Any
    writer: Any
    is_null: Any

    def to_python(self, value: Any) -> Any:
        if self.has_drafts and isinstance(value, str) and is_envelope(value):
            return StoredEnvelope(format.decode_text(value.strip()), self.label)
        return super().to_python(value)

    def value_from_object(self, obj: Model) -> Any:
        value = super().value_from_object(obj)
        return value.value if type(value) is Unencrypted else value

    def stored_by(self, prepared: StoredEnvelope | Kept, connection: BaseDatabaseWrapper) -> Any:
        """Return what a prepared value that is not a plain one puts into the column."""
        if isinstance(prepared, Kept):
            return self._kept_by(prepared, connection)
        return storable(self, self._own(prepared), connection.alias)

    def _kept_by(self, prepared: Kept, connection: BaseDatabaseWrapper) -> Any:
        """Return the column itself for a sealed value, or its envelope for another database."""
        instance = prepared.instance
        encrypted_anew = partial(self._encrypted_anew, prepared, connection.alias)
        if connection.alias != router.db_for_write(type(instance), instance=instance):
            return encrypted_anew()
        column = StoredCol(self)
        column.encrypted_anew = encrypted_anew
        return column

    def _encrypted_anew(self, prepared: Kept, using: str) -> Any:
        opened = Unencrypted(prepared.sealed.open(), prepared.instance)
        refuse_mask(self, opened.value)
        is_null = getattr(prepared.sealed, "is_null", False)
        return None if is_null else self.writer(opened, using)

    def _own(self, stored: StoredEnvelope) -> StoredEnvelope:
        if stored.label != self.label:
            raise FieldError(
                f"{self} cannot hold an envelope of {stored.label}: it would not open."
            )
        return stored

    def value_to_string(self, obj: Model) -> Any:
        """Return the value as the text of an envelope, as fixtures hold it, or None for NULL."""
        # No name here holds the value: an error report would show it.
        if self.has_drafts and isinstance(self.value_from_object(obj), Mask):
            return _kept_in_a_draft(self, self.value_from_object(obj), obj)
        sealed = sealed_in(obj, self)
        if sealed is not None and (text := sealed.as_text()) is not None:
            return text
        refuse_mask(self, self.value_from_object(obj))
        prepared = Unencrypted(self.value_from_object(obj), obj)
        if self.is_null(prepared.value):
            return None
        if type(prepared.value) is StoredEnvelope:
            return format.encode_text(prepared.value.envelope)
        # The text leaves the database, and must not outlive a key that is rolled back.
        return format.encode_text(self.writer(prepared, None))


def _kept_in_a_draft(field: Any, mask: Mask, obj: Model) -> str:
    """Return the text of the envelope of a value that the principal may not read."""
    is_kept = mask.sealed.prepared(field, obj, add=False) is not None
    if not is_kept or not is_stored_envelope(mask.sealed.envelope):
        raise masked_in(field, mask, obj)
    return format.encode_text(mask.sealed.envelope)


def has_drafts(model: Any) -> bool:
    """Whether drafts of a model are kept, its own or within those of a parent."""
    if hasattr(model, "from_serializable_data") or hasattr(model, "copy_for_translation"):
        return True
    cluster = sys.modules.get("modelcluster.fields")
    return cluster is not None and any(
        isinstance(field, cluster.ParentalKey) for field in model._meta.fields
    )


def prepare_saves_of(model: Any) -> None:
    """Have the fields of a model asked in raw saves, too, and fixtures' envelopes let go after any.

    Nothing else tells when that is; nor when an object begins to be one of another database.
    """
    extend(model, "_save_table", _preparing)
    extend(model, "refresh_from_db", _refreshing)


def _refreshing(original: Any) -> Any:
    def refresh_from_db(self: Model, *args: Any, **kwargs: Any) -> None:
        using = router.db_for_write(type(self), instance=self)
        before = [sealed_in(self, each) for each in encrypted_fields(self)]
        original(self, *args, **kwargs)
        find_emptied(self, encrypted_fields(self))
        _mark_assigned(self, using, before)

    return refresh_from_db


def _preparing(original: Any) -> Any:
    def _save_table(self: Model, raw: bool = False, *args: Any, **kwargs: Any) -> Any:
        if raw:
            with prepared_in(_asked_raw(self), _prepared_raw):
                saved = original(self, raw, *args, **kwargs)
        else:
            saved = original(self, raw, *args, **kwargs)
        if BroughtValue in map(type, self.__dict__.values()):
            table = kwargs.get("cls", args[0] if args else None)
            names = kwargs.get("update_fields", args[4] if len(args) > 4 else None)
            _mark_saved(self, table, names)
        using = kwargs.get("using", args[3] if len(args) > 3 else None)
        if self._state.db not in (None, using):
            _mark_assigned(self, using, [sealed_in(self, each) for each in encrypted_fields(self)])
        return saved

    return _save_table


@contextmanager
def prepared_in(
    held: Collection[tuple[Any, Any]], prepared: Callable[[Any, Any], Any]
) -> Iterator[None]:
    """Have objects hold what is written of their values, and the values before and after.

    Args:
        held: fields, each with an object that holds a value of it.
        prepared: returns what is written of the value, given these two.
    """
    # As prepared values, since error reports show the variables of each frame.
    before = [(field, Unencrypted(vars(row)[field.attname], row)) for field, row in held]
    try:
        for field, row in held:
            vars(row)[field.attname] = prepared(field, row)
        yield
    finally:
        for field, value in before:
            vars(value.instance)[field.attname] = value.value


def _asked_raw(row: Model) -> list[tuple[Any, Model]]:
    """Return the fields that prepare what a raw save writes: encrypted ones, and their indexes."""
    asked = (field for field in row._meta.concrete_fields if hasattr(field, "prepared_raw"))
    fields = [*encrypted_fields(row), *asked]
    return [(field, row) for field in fields if field.attname in vars(row)]


def _prepared_raw(field: Any, row: Any) -> Any:
    if hasattr(field, "prepared_raw"):
        return field.prepared_raw(row)
    sealed = sealed_in(row, field)
    if sealed is None:
        return as_prepared(field, Unencrypted(vars(row)[field.attname], row))
    prepared = sealed.prepared(field, row, add=False)
    if prepared is None or field.changes_with_others(prepared, row):
        return as_prepared(field, Unencrypted(sealed.open(), row))
    return prepared


def as_prepared(field: Any, prepared: Unencrypted) -> Any:
    """Return a value that is to be encrypted as a prepared one, and others as they are."""
    if prepared.value is None or isinstance(prepared.value, PreparedValue):
        return prepared.value
    is_expression = hasattr(prepared.value, "resolve_expression")
    is_encrypted = not is_expression or is_json_null(field, prepared.value)
    return prepared if is_encrypted else prepared.value


def _mark_assigned(instance: Model, using: str | None, loaded: list[Any]) -> None:
    """Have values that an object still holds of another database written when it is saved again.

    What it was loaded from may also be a replica of the one that it is saved in.
    """
    if using == router.db_for_write(type(instance), instance=instance):
        return
    held = instance.__dict__
    for sealed in loaded:
        if type(sealed) is SealedValue and held.get(sealed.field.attname, MISSING) is sealed:
            held[sealed.field.attname] = sealed.as_kind(AssignedValue)


def _mark_saved(instance: Model, table: Any, names: Collection[str] | None) -> None:
    """Let an object hold what its row holds now, where a fixture or a draft had brought it."""
    held = instance.__dict__
    fields: tuple[Any, ...] = (table or instance)._meta.local_concrete_fields
    for field in fields:
        brought = held.get(field.attname)
        is_written = not names or field.name in names or field.attname in names
        if is_written and isinstance(brought, BroughtValue):
            held[field.attname] = brought.saved(field.row_of(instance))
