"""What a serializer asks an encrypted field for, and what a deserializer gives it."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

from django.core.serializers.base import DeserializedObject
from django.db.models import Field, JSONField, Model, Value

from envelope_fields.fields import EncryptedFieldMixin
from envelope_fields.fields.fixtures import take_envelopes


class EnvelopesMixin:
    """For a subclass of Django's python serializer: the text of an envelope, whatever the type."""

    def _value_from_field(self, obj: Model, field: Field[Any, Any]) -> Any:
        if isinstance(field, EncryptedFieldMixin):
            return field.value_to_string(with_json_null(obj, field))
        return super()._value_from_field(obj, field)  # type: ignore[misc]


class TakeEnvelopesMixin:
    """For a subclass of Django's python deserializer: the text of an envelope is that envelope."""

    def _handle_object(self, data: Any) -> Iterator[DeserializedObject]:
        for deserialized in super()._handle_object(data):  # type: ignore[misc]
            take_envelopes(deserialized.object)
            yield deserialized


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
