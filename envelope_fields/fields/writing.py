"""From a value to the bytes that are stored."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Model

from envelope_fields.crypto import envelope
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.carriers import Unencrypted
from envelope_fields.fields.errors import named
from envelope_fields.keyring import wrapping_key
from envelope_fields.models import DEFAULT_ALIAS


def encrypt(field: Any, carrier: Unencrypted, using: str | None) -> bytes:
    """Return the envelope of a value that is not None.

    No name here ever holds the value itself: an error report would show it.

    Args:
        field: the encrypted field.
        carrier: the value, and the row that it belongs to where there is one.
        using: the database that it goes to; None when it leaves for elsewhere.

    Raises:
        FieldError: the field takes its key from the row, and there is none.
        TypeError, ValueError: the value is none that the field can store.
        EnvelopeError: as `keyring.wrapping_key` raises it, naming the field.
    """
    alias = DEFAULT_ALIAS if field.key is None else _alias(field, carrier.instance)
    try:
        key = wrapping_key(alias, using)
    except EnvelopeError as error:
        raise named(field, error) from error
    return envelope.encrypt(key, field.to_plaintext(carrier.value), field.contexts[0])


def _alias(field: Any, instance: Model | None) -> str:
    if isinstance(field.key, str):
        return field.key
    alias = _alias_without_row(field.key) if instance is None else field.key(instance)
    if isinstance(alias, str):
        return alias
    if instance is None:
        raise FieldError(
            f"{field} takes its key from the instance, and Django gives none here. Use save() or "
            "bulk_create(); for bulk_update(), a manager made of "
            "envelope_fields.fields.EncryptedQuerySet; or let key(None) return an alias."
        )
    raise FieldError(
        f"{field}: key= returned {type(alias).__name__} instead of the alias of a master key."
    )


def _alias_without_row(key: Any) -> Any:
    try:
        return key(None)
    except Exception:  # it was made for instances
        return None
