"""What a serializer asks an encrypted field for."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.db.models import Field, JSONField, Model, Value

from envelope_fields.fields import EncryptedFieldMixin


class EnvelopesMixin:
    """For a subclass of Django's python serializer: the text of an envelope, whatever the type."""

    def _value_from_field(self, obj: Model, field: Field[Any, Any]) -> Any:
        if isinstance(field, EncryptedFieldMixin):
            return field.value_to_string(with_json_null(obj, field))
        return super()._value_from_field(obj, field)  # type: ignore[misc]


def with_json_null(obj: Model, field: Field[Any, Any]) -> Model:
    """Return `obj`, or a copy that says so where its None can only mean JSON null.

    In a nullable column None is SQL's NULL, as `JSONField` reads and dumps it.
    """
    if (
        field.null
        or not isinstance(field, JSONField)
        or not isinstance(field, EncryptedFieldMixin)
        or field.value_from_object(obj) is not None
    ):
        return obj
    told = copy(obj)
    setattr(told, field.attname, Value(None, JSONField()))
    return told
