"""What a serializer asks an encrypted field for, and what a deserializer gives it."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

from django.core.serializers.base import DeserializationError, DeserializedObject
from django.db.models import Field, JSONField, Model, Value

from envelope_fields.crypto.format import TEXT_PREFIX
from envelope_fields.fields import EncryptedFieldMixin
from envelope_fields.fields.fixtures import take_envelopes


class EnvelopesMixin:
    """For a subclass of Django's python serializer: the text of an envelope, whatever the type."""

    def _value_from_field(self, obj: Model, field: Field[Any, Any]) -> Any:
        if isinstance(field, EncryptedFieldMixin):
            return field.value_to_string(with_json_null(obj, field))
        return super()._value_from_field(obj, field)  # type: ignore[misc]  # of a sibling in the MRO


class TakeEnvelopesMixin:
    """For a subclass of Django's python deserializer: the text of an envelope is that envelope."""

    _get_model_from_node: Any

    def _handle_object(self, data: Any) -> Iterator[DeserializedObject]:
        envelopes = self._envelopes(data)
        if envelopes:
            # Django would have the field make a value of them, such as a date.
            others = {name: data["fields"][name] for name in data["fields"].keys() - envelopes}
            data = {**data, "fields": others}
        for deserialized in super()._handle_object(data):  # type: ignore[misc]  # of a sibling
            vars(deserialized.object).update(envelopes)
            take_envelopes(deserialized.object)
            yield deserialized

    def _envelopes(self, data: Any) -> dict[str, str]:
        try:
            model = self._get_model_from_node(data["model"])
        except DeserializationError:
            return {}  # Django says so, or leaves it out
        return {
            name: value
            for name, value in data["fields"].items()
            if is_encrypted(model, name)
            and isinstance(value, str)
            and value.startswith(TEXT_PREFIX)
        }


def is_encrypted(model: type[Model], name: str) -> bool:
    """Whether a name that a fixture gives is that of an encrypted field."""
    return any(
        field.name == name and isinstance(field, EncryptedFieldMixin)
        for field in model._meta.concrete_fields
    )


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
