"""Fixtures: envelopes as text become stored bytes, plain values are encrypted for their row.

Only deserialization saves raw, so only there text that begins with `envelope:` means an envelope.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Field, Model
from django.db.models.signals import post_save, pre_save

from envelope_fields.crypto.format import TEXT_PREFIX, decode_text
from envelope_fields.exceptions import MalformedEnvelope
from envelope_fields.fields.carriers import StoredEnvelope, Unencrypted
from envelope_fields.fields.encrypted import EncryptedFieldMixin


def connect() -> None:
    """Prepare every raw save, of whatever model: a proxy is a sender of its own."""
    pre_save.connect(_prepare, dispatch_uid="envelope_fields.fixtures.prepare")
    post_save.connect(_restore, dispatch_uid="envelope_fields.fixtures.restore")


def _prepare(*, instance: Model, raw: bool, **_: Any) -> None:
    if raw:
        for field, value in _encrypted_values(instance):
            instance.__dict__[field.attname] = _carrier(field, value, instance)


def _restore(*, instance: Model, raw: bool, **_: Any) -> None:
    if raw:
        for field, carrier in _encrypted_values(instance):
            if isinstance(carrier, StoredEnvelope):
                # A deferred field: who looks at it gets the value that the envelope holds.
                del instance.__dict__[field.attname]
            elif isinstance(carrier, Unencrypted):
                instance.__dict__[field.attname] = carrier.value


def _encrypted_values(instance: Model) -> Iterator[tuple[Field[Any, Any], Any]]:
    for field in instance._meta.concrete_fields:
        if isinstance(field, EncryptedFieldMixin):
            value = instance.__dict__.get(field.attname)
            if value is not None:
                yield field, value


def _carrier(field: Field[Any, Any], value: Any, instance: Model) -> Any:
    if isinstance(value, str) and value.startswith(TEXT_PREFIX):
        try:
            return StoredEnvelope(decode_text(value))
        except MalformedEnvelope as error:
            raise MalformedEnvelope(
                f"{field}, in the fixture's object with the primary key {instance.pk!r}: {error}"
            ) from None
    if hasattr(value, "resolve_expression"):
        return value
    return Unencrypted(value, instance)
