"""Django's serializers, except that what they write of an encrypted field is always an envelope.

Django's own pass numbers, booleans and dates through as they are, without asking the field.
"""

from __future__ import annotations

from django.conf import settings
from django.core import serializers

FORMATS = ("python", "json", "jsonl", "yaml", "xml")


def register() -> None:
    """Take the place of Django's serializers; the project's SERIALIZATION_MODULES go first."""
    modules = {format: f"{__name__}.{format}" for format in FORMATS}
    # Django reads this dictionary whenever it loads its serializers, also anew after a change of
    # settings.
    serializers.BUILTIN_SERIALIZERS.update(modules)
    chosen = getattr(settings, "SERIALIZATION_MODULES", {})
    if serializers._serializers:  # type: ignore[attr-defined] # loaded before we came
        for format in modules.keys() - chosen.keys():
            serializers.register_serializer(format, modules[format])
