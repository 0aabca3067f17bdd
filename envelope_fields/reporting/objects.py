"""Which objects have encrypted fields, and what goes by their names: `notes`, `form-0-notes`.

Nothing is asked of an attribute, which might read a database or open a value: what objects hold
is looked at where they hold it.
"""

import re
from contextlib import suppress
from types import MemberDescriptorType
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet

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


def model_of(value: Any) -> Any:
    """Return the model that something is a row of, or several rows; None if it is not."""
    kind = type(value)
    model = value.model if issubclass(kind, QuerySet) else kind
    is_model = isinstance(model, type) and issubclass(model, Model)
    return model if is_model and hasattr(model, "_meta") else None


def has_encrypted_fields(value: Any) -> bool:
    """Whether something is a row with encrypted fields, or several of them."""
    model = model_of(value)
    return model is not None and bool(encrypted_fields(model))


def holds_rows(value: Any) -> bool:
    """Whether an object has such rows in it, which its repr would show."""
    return any(has_encrypted_fields(inside) for inside in attributes(value).values())


def is_pair(value: Any) -> bool:
    """Whether something is a name and a value, as filters have them."""
    return type(value) is tuple and len(value) == 2 and isinstance(value[0], str)


def attributes(value: Any) -> dict[str, Any]:
    """Return what an object holds, also in slots. Not vars(): a lazy object would be made."""
    held: dict[str, Any] = {}
    for kind in type(value).__mro__:
        for name, attribute in vars(kind).items():
            if isinstance(attribute, MemberDescriptorType):
                with suppress(AttributeError):  # not set
                    held[name] = attribute.__get__(value)
    with suppress(AttributeError):
        own = object.__getattribute__(value, "__dict__")
        held.update(own if isinstance(own, dict) else {})
    return held
