"""Fixtures: envelopes as text become stored bytes, plain values are encrypted for their row.

Our deserializers ask for it. Those that a project put in their place do not know; but only
deserialization saves raw, so before the first raw save too, text that begins with `envelope:` means
an envelope.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.db.models.signals import pre_save

from envelope_fields.crypto.format import TEXT_PREFIX, decode_text
from envelope_fields.exceptions import MalformedEnvelope
from envelope_fields.fields.sealed import BroughtValue, encrypted_fields

_TAKEN = "envelope_fields"  # in the object's `_state`: the attributes that were looked at


def connect() -> None:
    """Prepare every raw save, of whatever model: a proxy is a sender of its own."""
    pre_save.connect(_prepare, dispatch_uid="envelope_fields.fixtures.prepare")


def take_envelopes(instance: Model) -> None:
    """Let a deserialized object keep the envelopes that its fixture brings, instead of their text.

    It may be saved in any way after that. What is assigned to it from here on is ordinary text.

    Raises:
        MalformedEnvelope: a text begins like that of an envelope, and is none.
    """
    held = instance.__dict__
    taken: set[str] = vars(instance._state).setdefault(_TAKEN, set())
    for field in encrypted_fields(instance):
        name = field.attname
        if name in held and name not in taken:
            taken.add(name)
            stored = _stored_envelope(field, held[name], instance)
            if stored is not None:
                held[name] = BroughtValue(field, stored)


def _prepare(*, instance: Model, raw: bool, **_: Any) -> None:
    if raw:
        take_envelopes(instance)


def _stored_envelope(field: Any, value: Any, instance: Model) -> bytes | None:
    """Return the envelope that a text is; None for any other value."""
    if not isinstance(value, str) or not value.startswith(TEXT_PREFIX):
        return None
    try:
        return decode_text(value)
    except MalformedEnvelope as error:
        raise MalformedEnvelope(
            f"{field}, in the fixture's object with the primary key {instance.pk!r}: {error}"
        ) from None
