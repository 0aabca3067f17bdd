"""Encrypted fields made of any other: of those of other packages, above all.

The class is made when it is asked for, of a class of ours and that of the field. What the field
brings stays: its options, validators, form field, and what its attribute makes of a value.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import date, time, timedelta
from decimal import Decimal
from functools import cache, partial
from typing import Any, Final, Unpack, overload
from uuid import UUID

from django.db import models

from envelope_fields.fields import identifiers, json, numbers, text, times
from envelope_fields.fields.encrypted import OPTIONS, EncryptedFieldMixin
from envelope_fields.fields.plain import is_null
from envelope_fields.fields.text import TextMixin
from envelope_fields.fields.types import FieldBase, OwnOptions, TypedField

FAMILY: Final[dict[type, Any]] = {
    next(base for base in each.__mro__ if base.__module__.startswith("django.")): each
    for module in (identifiers, json, numbers, text, times)
    for name, each in vars(module).items()
    if name.startswith("Encrypted") and name.endswith("Field")
}  # the encrypted field classes, by the classes of Django that they extend

_FUNCTION = "envelope_fields.fields.encrypted"
_WRITTEN_AS_TEXT = (str, int, float, Decimal, date, time, timedelta, UUID)


@overload
def encrypted(field: TypedField, /, **options: Unpack[OwnOptions]) -> TypedField: ...
@overload
def encrypted(field: models.Field[Any, Any], /, **options: Unpack[OwnOptions]) -> Any: ...
def encrypted(field: Any, /, **options: Any) -> Any:
    """Return a field that does what `field` does, and stores its values encrypted.

    The values have the canonical bytes of the Django field class that the field extends; of a
    class that extends none of these, the text that it prepares for the database.

    Args:
        field: a field with a value of its own, with its options; not a relation.
        **options: those of `EncryptedFieldMixin`: `key`, `context`, `previous_contexts`,
            `bind_to`, `previous_bindings`, `copy_of`, `converts`, `on_denied` and `legacy`.

    Raises:
        TypeError: what is given is no such field, or encrypted already; or an option is none of
            these.
    """
    if not isinstance(field, models.Field) or hasattr(field, "to_plaintext"):
        raise TypeError(
            f"encrypted() takes a field that is not encrypted, not {type(field).__name__}: "
            "write encrypted(PhoneNumberField())."
        )
    if hasattr(field, "base_field"):
        raise TypeError(
            f"encrypted() takes no {type(field).__name__}: write EncryptedArrayField(CharField()) "
            "for a list."
        )
    unknown = options.keys() - OwnOptions.__optional_keys__
    if unknown:
        raise TypeError(f"encrypted() takes no {min(unknown)}=: declare it with the field itself.")
    plain_class: Any = type(field)
    return _kind(plain_class, _ours(field))(field, **options)


class PreparedTextMixin(EncryptedFieldMixin):
    """Writes the text of what a field prepares for the database."""

    asks_plain = makes_null = True
    from_column = staticmethod(bytes.decode)

    def to_plaintext(self, value: Any) -> bytes:
        prepared = self.prepared_by_plain(value)
        if isinstance(prepared, _WRITTEN_AS_TEXT):
            return str(prepared).encode()
        del value, prepared  # error reports show variables
        raise TypeError(f"{self}: what the field prepares for the database has no text.")

    def is_null(self, value: Any) -> bool:
        return is_null(self, value)

    def from_plaintext(self, plaintext: bytes) -> Any:
        return self.to_python(plaintext.decode())


class AnyMixin(FieldBase):
    """What a field has that `encrypted()` made.

    Attributes:
        plain_class: the class of the plain field.
    """

    plain_class: type[models.Field[Any, Any]]

    def __init__(self, field: models.Field[Any, Any], /, **options: Any) -> None:
        _, _, args, kwargs = field.deconstruct()
        declared: Any = super().__init__
        declared(*args, **kwargs, **options)
        self.creation_counter = field.creation_counter  # where it stands in its model
        self._take_over(field, type(field)(*args, **kwargs))

    def _take_over(self, given: Any, made: Any) -> None:
        """Take what a field has and `deconstruct()` does not tell, as some leave out options."""
        for name, value in vars(given).items():
            ours = name not in vars(self) or name in OPTIONS or name == "creation_counter"
            if not ours and (name not in vars(made) or vars(made)[name] != value):
                setattr(self, name, value)

    def plain(self) -> models.Field[Any, Any]:
        """Return the plain field, as it was declared."""
        _, _, args, kwargs = super().deconstruct()
        # Made of what the field is by now: migrations change a copy before they write it.
        return self.plain_class(*args, **{name: kwargs[name] for name in kwargs.keys() - OPTIONS})

    def deconstruct(self) -> Any:
        name, _, _, kwargs = super().deconstruct()
        options = {each: kwargs[each] for each in OPTIONS if each in kwargs}
        return name, _FUNCTION, [self.plain()], options

    def __reduce__(self) -> Any:
        if hasattr(self, "model"):
            return super().__reduce__()
        _, _, args, options = self.deconstruct()
        return partial(encrypted, **options), tuple(args)  # no module has the class


def _ours(field: models.Field[Any, Any]) -> Any:
    """Return the class of ours whose values have the type of a field's."""
    for base in type(field).__mro__:
        if base in FAMILY:
            is_same = base().get_internal_type() == field.get_internal_type()
            is_text = issubclass(FAMILY[base], TextMixin)
            return FAMILY[base] if is_same or is_text else PreparedTextMixin
    return PreparedTextMixin


@cache
def _kind(plain_class: Any, ours: Any) -> Any:
    """Return the class of encrypted fields that are made of those of a class."""
    body = {"__module__": plain_class.__module__}
    return type(f"Encrypted{plain_class.__name__}", (AnyMixin, ours, plain_class), body)


def add_encrypted_classes(known: MutableMapping[Any, Any]) -> None:
    """Have a package that knows fields by their exact class know the encrypted ones.

    Args:
        known: its table of field classes; each encrypted class gets what the plain one has there,
            unless it is in the table already.
    """
    for plain_class, encrypted_class in FAMILY.items():
        if plain_class in known:
            known.setdefault(encrypted_class, known[plain_class])
