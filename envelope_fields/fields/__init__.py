"""Encrypted model fields: Django's own fields, whose column holds envelopes."""

from envelope_fields.fields.encrypted import EncryptedFieldMixin
from envelope_fields.fields.json import EncryptedJSONField
from envelope_fields.fields.queryset import EncryptedQuerySet, open_values
from envelope_fields.fields.text import EncryptedTextField

__all__ = [
    "EncryptedFieldMixin",
    "EncryptedJSONField",
    "EncryptedQuerySet",
    "EncryptedTextField",
    "open_values",
]
