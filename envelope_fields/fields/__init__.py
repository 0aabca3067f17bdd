"""Encrypted model fields: Django's own fields, whose column holds envelopes."""

from typing import TYPE_CHECKING, Any

from envelope_fields.fields.any import add_encrypted_classes, encrypted
from envelope_fields.fields.encrypted import EncryptedFieldMixin
from envelope_fields.fields.identifiers import (
    EncryptedBinaryField,
    EncryptedGenericIPAddressField,
    EncryptedUUIDField,
)
from envelope_fields.fields.index import BlindIndexField, IndexedUnique, Scoped
from envelope_fields.fields.json import EncryptedJSONField
from envelope_fields.fields.numbers import (
    EncryptedBigIntegerField,
    EncryptedBooleanField,
    EncryptedDecimalField,
    EncryptedFloatField,
    EncryptedIntegerField,
    EncryptedPositiveBigIntegerField,
    EncryptedPositiveIntegerField,
    EncryptedPositiveSmallIntegerField,
    EncryptedSmallIntegerField,
)
from envelope_fields.fields.queryset import EncryptedQuerySet, open_values
from envelope_fields.fields.text import (
    EncryptedCharField,
    EncryptedEmailField,
    EncryptedFilePathField,
    EncryptedSlugField,
    EncryptedTextField,
    EncryptedURLField,
)
from envelope_fields.fields.times import (
    EncryptedDateField,
    EncryptedDateTimeField,
    EncryptedDurationField,
    EncryptedTimeField,
)

__all__ = [
    "BlindIndexField",
    "EncryptedBigIntegerField",
    "EncryptedBinaryField",
    "EncryptedBooleanField",
    "EncryptedCharField",
    "EncryptedDateField",
    "EncryptedDateTimeField",
    "EncryptedDecimalField",
    "EncryptedDurationField",
    "EncryptedEmailField",
    "EncryptedFieldMixin",
    "EncryptedFilePathField",
    "EncryptedFloatField",
    "EncryptedGenericIPAddressField",
    "EncryptedIntegerField",
    "EncryptedJSONField",
    "EncryptedPositiveBigIntegerField",
    "EncryptedPositiveIntegerField",
    "EncryptedPositiveSmallIntegerField",
    "EncryptedQuerySet",
    "EncryptedSlugField",
    "EncryptedSmallIntegerField",
    "EncryptedTextField",
    "EncryptedTimeField",
    "EncryptedURLField",
    "EncryptedUUIDField",
    "IndexedUnique",
    "Scoped",
    "add_encrypted_classes",
    "encrypted",
    "open_values",
]

if TYPE_CHECKING:
    from envelope_fields.fields.arrays import EncryptedArrayField as EncryptedArrayField


def __getattr__(name: str) -> Any:
    if name != "EncryptedArrayField":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Django's class needs a driver of PostgreSQL, which few projects have beside another database.
    from envelope_fields.fields import arrays

    return arrays.EncryptedArrayField
