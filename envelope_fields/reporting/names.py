"""What goes by the name of an encrypted field: `notes`, `patient__notes__in`, `form-0-notes`."""

from __future__ import annotations

import re
from typing import Any

from django.apps import apps
from django.db.models import Model

_PARTS = re.compile(r"__|-|\.|\[|\]")
_NUMBER = re.compile(r"_\d+\Z")  # of the widgets of one form field


class EncryptedNames:
    """The names of the encrypted fields of all models, and of their columns."""

    def __init__(self) -> None:
        models = apps.get_models(include_auto_created=True, include_swapped=True)
        self._names = {
            name.lower()
            for model in models
            for field in encrypted_fields(model)
            for name in (field.name, field.attname, field.column)
        }

    def __contains__(self, name: Any) -> bool:
        if not isinstance(name, str):
            return False
        parts = _PARTS.split(name.lower())
        return any(_NUMBER.sub("", part) in self._names or part in self._names for part in parts)


def encrypted_fields(model: type[Model]) -> list[Any]:
    """Return the encrypted fields of a model, with those that it inherits."""
    return [field for field in model._meta.concrete_fields if is_encrypted(field)]


def is_encrypted(field: Any) -> bool:
    """Whether something is an encrypted field."""
    # Settings name this module, and are read before there can be models.
    from envelope_fields.fields import EncryptedFieldMixin

    return isinstance(field, EncryptedFieldMixin)
