"""`SERIALIZATION_MODULES`: serializers that would write encrypted values into fixtures as they are.

Django's serializers ask a field for text, which for an encrypted field is that of an envelope,
unless the value is a number, a boolean or a date: those they write in clear. The XML one always
asks.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.core.serializers import BUILTIN_SERIALIZERS
from django.core.serializers.python import Serializer as PythonSerializer
from django.core.serializers.xml_serializer import Serializer as XMLSerializer

from envelope_fields.checks.references import AppConfigs, all_models, encrypted_fields

_OURS = "envelope_fields.fixtures."


def check_serializers(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Check the serializers that the project puts in the place of others, or derives of them."""
    if next(encrypted_fields(all_models(app_configs)), None) is None:
        return []
    modules = getattr(settings, "SERIALIZATION_MODULES", {})
    return [
        Warning(
            f"SERIALIZATION_MODULES[{name!r}] is {path!r}, which may write values of encrypted "
            "fields into fixtures unencrypted.",
            hint=(
                "Derive its Serializer from that of envelope_fields.fixtures, or silence this "
                "if its handle_field() calls field.value_to_string() for every value."
            ),
            id="envelope_fields.W050",
        )
        for name, path in modules.items()
        if _may_reveal(name, path)
    ]


def _may_reveal(name: str, path: str) -> bool:
    try:
        serializer = import_module(path).Serializer
    except (ImportError, AttributeError):  # Django says so when it is used
        return False
    if not isinstance(serializer, type) or issubclass(serializer, XMLSerializer):
        return False
    if any(base.__module__.startswith(_OURS) for base in serializer.__mro__):
        return False
    return name in BUILTIN_SERIALIZERS or issubclass(serializer, PythonSerializer)
