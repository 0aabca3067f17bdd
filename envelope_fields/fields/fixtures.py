"""Fixtures: envelopes as text become stored bytes, plain values are encrypted for their row.

Our deserializers ask for it. Those that a project put in their place do not know; but only
deserialization saves raw, so in the first raw save too, text that begins with `envelope:` means an
envelope.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Field, Model
from django.db.models.signals import post_save, pre_save

from envelope_fields.crypto.format import TEXT_PREFIX, decode_text
from envelope_fields.exceptions import MalformedEnvelope
from envelope_fields.fields.carriers import StoredEnvelope, Unencrypted
from envelope_fields.fields.encrypted import EncryptedFieldMixin
from envelope_fields.fields.placeholder import is_historical


def connect() -> None:
    """Prepare every raw save, of whatever model: a proxy is a sender of its own."""
    pre_save.connect(_prepare, dispatch_uid="envelope_fields.fixtures.prepare")
    post_save.connect(_restore, dispatch_uid="envelope_fields.fixtures.restore")


def take_envelopes(instance: Model) -> None:
    """Let a deserialized object hold the envelopes that its fixture brings, instead of their text.

    It may be saved in any way after that. What is assigned to it from here on is ordinary text.

    Raises:
        MalformedEnvelope: a text begins like that of an envelope, and is none.
    """
    for field in _encrypted_fields(instance):
        name = field.attname
        if name in instance.__dict__:
            instance.__dict__[name] = _stored_envelope(field, instance.__dict__[name], instance)
            _brought(instance)[name] = None


def _prepare(*, instance: Model, raw: bool, **_: Any) -> None:
    if raw:
        for field in _encrypted_fields(instance):
            name, brought = field.attname, _brought(instance)
            if name in instance.__dict__:
                # What is set on an object after its first save is no fixture's text any more.
                carrier = _carrier(field, instance.__dict__[name], instance, name not in brought)
                instance.__dict__[name] = carrier
            elif brought.get(name) is not None:
                instance.__dict__[name] = brought[name]
    elif instance._state.adding and _is_deserialized(instance):
        for name, envelope in _brought(instance).items():  # a copy of what was saved before
            if envelope is not None:
                instance.__dict__.setdefault(name, envelope)


def _restore(*, instance: Model, raw: bool, **_: Any) -> None:
    if raw or _is_deserialized(instance):
        for field in _encrypted_fields(instance):
            name, brought = field.attname, _brought(instance)
            carrier = instance.__dict__.get(name)
            brought[name] = None
            if isinstance(carrier, StoredEnvelope):
                # A deferred field: who looks at it gets the value that the envelope holds. An
                # object with forward references is saved twice, maybe before its key is there.
                brought[name] = carrier
                del instance.__dict__[name]
            elif isinstance(carrier, Unencrypted):
                instance.__dict__[name] = carrier.value


def _is_deserialized(instance: Model) -> bool:
    return "envelope_fields" in instance._state.__dict__


def _brought(instance: Model) -> dict[str, StoredEnvelope | None]:
    """Return the envelopes that fixtures brought for the fields of an object saved before."""
    brought: dict[str, StoredEnvelope | None]
    brought = instance._state.__dict__.setdefault("envelope_fields", {})
    return brought


def _encrypted_fields(instance: Model) -> list[Field[Any, Any]]:
    return [f for f in instance._meta.concrete_fields if isinstance(f, EncryptedFieldMixin)]


def _carrier(field: Field[Any, Any], value: Any, instance: Model, may_be_envelope: bool) -> Any:
    if type(value) is Unencrypted:  # left by a raw save that failed, maybe of another row
        value = value.value
    if may_be_envelope:
        value = _stored_envelope(field, value, instance)
    if (
        value is None
        or type(value) is StoredEnvelope
        or hasattr(value, "resolve_expression")
        or not _needs_row(field, instance)
    ):
        return value
    return Unencrypted(value, instance)


def _stored_envelope(field: Any, value: Any, instance: Model) -> Any:
    """Return the envelope that a text is, or any other value as it is."""
    if not isinstance(value, str) or not value.startswith(TEXT_PREFIX):
        return value
    try:
        return StoredEnvelope(decode_text(value), field.label)
    except MalformedEnvelope as error:
        raise MalformedEnvelope(
            f"{field}, in the fixture's object with the primary key {instance.pk!r}: {error}"
        ) from None


def _needs_row(field: Any, instance: Model) -> bool:
    """Whether a plain value cannot be stored for what it is.

    Either the row says its key; or, in a migration, a value without a row may be taken for one
    that no row will hold.
    """
    return callable(field.key) or is_historical(type(instance))
