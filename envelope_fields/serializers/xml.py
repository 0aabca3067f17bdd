"""XML, where Django writes and reads a `JSONField` as JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.dom.minidom import Element

from django.core.serializers import xml_serializer as django
from django.core.serializers.base import DeserializationError, DeserializedObject
from django.db.models import Field, JSONField, Model

from envelope_fields.crypto.format import TEXT_PREFIX
from envelope_fields.fields import EncryptedFieldMixin
from envelope_fields.fields.fixtures import take_envelopes
from envelope_fields.serializers.values import is_encrypted, with_json_null


class Serializer(django.Serializer):
    """Django's serializer; a field's text is its envelope here in any case."""

    def handle_field(self, obj: Model, field: Field[Any, Any]) -> None:
        super().handle_field(with_json_null(obj, field), field)


class Deserializer(django.Deserializer):
    """Django's deserializer, with envelopes; and it knows JSON by the name `JSONField` alone."""

    _get_model_from_node: Any

    def _handle_object(self, node: Element) -> DeserializedObject:
        envelopes = self._take_out_envelopes(node)
        deserialized: DeserializedObject = super()._handle_object(node)  # type: ignore[misc]  # a stub lacks it
        for field in _json_fields(deserialized.object, node):
            text = deserialized.object.__dict__[field.attname]
            if text is not None:
                setattr(deserialized.object, field.attname, _parsed(text, field, deserialized))
        vars(deserialized.object).update(envelopes)
        take_envelopes(deserialized.object)
        return deserialized

    def _take_out_envelopes(self, node: Element) -> dict[str, str]:
        """Leave what Django would have the field make a value of, such as a date."""
        model, found = self._get_model_from_node(node, "model"), {}
        for child in node.getElementsByTagName("field"):
            name = child.getAttribute("name")
            if is_encrypted(model, name) and not child.getElementsByTagName("None"):
                text = django.getInnerText(child).strip()
                if text.startswith(TEXT_PREFIX):
                    found[name] = text
                    node.removeChild(child)
        return found


def _json_fields(instance: Model, node: Element) -> Iterator[Any]:
    """Yield the encrypted JSON fields that an <object> gives, as opposed to their defaults."""
    given = {child.getAttribute("name") for child in node.getElementsByTagName("field")}
    for field in instance._meta.concrete_fields:
        if (
            isinstance(field, EncryptedFieldMixin)
            and isinstance(field, JSONField)
            and field.name in given
        ):
            yield field


def _parsed(text: str, field: Any, deserialized: DeserializedObject) -> Any:
    try:
        return json.loads(text, cls=field.decoder)
    except Exception as error:  # a decoder may raise anything
        cause = type(error).__name__  # the error itself may hold the value
    raise DeserializationError(
        f"{field}, in the fixture's object with the primary key {deserialized.object.pk!r}: "
        f"neither JSON nor an envelope ({cause})."
    )
