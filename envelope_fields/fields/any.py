"""Encrypted fields made of any other: of those of other packages, above all.

The class is made when it is asked for, of a class of ours and that of the field. What the field
brings stays: its options, validators, form field, and what its attribute makes of a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, overload
from uuid import UUID

from django.db import connection, models
from django.db.models.fields.related import RelatedField
from django.db.models.query_utils import DeferredAttribute

from envelope_fields.fields.attribute import EncryptedAttribute
from envelope_fields.fields.bound_columns import Name
from envelope_fields.fields.encrypted import OPTIONS, EncryptedFieldMixin
from envelope_fields.fields.family import FAMILY
from envelope_fields.fields.legacy import LegacyFormat
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.prepared import PreparedValue
from envelope_fields.fields.sealed import MISSING, SealedValue
from envelope_fields.fields.text import TextMixin
from envelope_fields.fields.types import FieldBase, KeyChoice, OnDenied, TypedField

_FUNCTION = "envelope_fields.fields.encrypted"
_COMPARED = (
    RelatedField,
    models.AutoField,
    models.BigAutoField,
    models.SmallAutoField,
    models.CompositePrimaryKey,
    models.GeneratedField,
)
_WRITTEN_AS_TEXT = (str, int, float, Decimal, date, time, timedelta, UUID)


@overload
def encrypted(
    field: TypedField,
    /,
    *,
    key: KeyChoice = None,
    context: str | None = None,
    previous_contexts: Iterable[str] = (),
    bind_to: Iterable[str] = (),
    previous_bindings: Iterable[Iterable[Name]] = (),
    copy_of: str | None = None,
    converts: str | None = None,
    on_denied: OnDenied = "raise",
    legacy: Iterable[LegacyFormat] = (),
) -> TypedField: ...
@overload
def encrypted(
    field: models.Field[Any, Any],
    /,
    *,
    key: KeyChoice = None,
    context: str | None = None,
    previous_contexts: Iterable[str] = (),
    bind_to: Iterable[str] = (),
    previous_bindings: Iterable[Iterable[Name]] = (),
    copy_of: str | None = None,
    converts: str | None = None,
    on_denied: OnDenied = "raise",
    legacy: Iterable[LegacyFormat] = (),
) -> Any: ...
def encrypted(
    field: Any,
    /,
    *,
    key: KeyChoice = None,
    context: str | None = None,
    previous_contexts: Iterable[str] = (),
    bind_to: Iterable[str] = (),
    previous_bindings: Iterable[Iterable[Name]] = (),
    copy_of: str | None = None,
    converts: str | None = None,
    on_denied: OnDenied = "raise",
    legacy: Iterable[LegacyFormat] = (),
) -> Any:
    """Return a field that does what `field` does, and stores its values encrypted.

    The values have the canonical bytes of the Django field class that the field extends; of a
    class that extends none of these, the text that it prepares for the database.

    Args:
        field: a field with a value of its own, with its options; not a relation.
        key: as for `EncryptedFieldMixin`, as are the others.
        context: the label to which values are bound.
        previous_contexts: labels under which values were written before.
        bind_to: the columns of the row that values are bound to.
        previous_bindings: what they were bound to before.
        copy_of: the field whose envelopes are copied into this one.
        converts: the name of the field in clear whose place this one takes.
        on_denied: `raise` or `mask`.
        legacy: readers of what other packages have stored in its column.

    Raises:
        TypeError: what is given is no such field, or encrypted already.
    """
    if not isinstance(field, models.Field) or hasattr(field, "to_plaintext"):
        raise TypeError(
            f"encrypted() takes a field that is not encrypted, not {type(field).__name__}: "
            "write encrypted(PhoneNumberField())."
        )
    kind = f"encrypted() takes no {type(field).__name__}"
    if isinstance(field, _COMPARED):
        raise TypeError(
            f"{kind}: the database compares keys and relations, and computes generated columns, "
            "which it cannot do with anything encrypted."
        )
    if isinstance(field, models.FileField):
        raise TypeError(
            f"{kind}: the file would not be encrypted, but its name alone. Encrypt the contents "
            "with envelope_fields.kms, or keep them in an EncryptedBinaryField."
        )
    if hasattr(field, "base_field"):
        raise TypeError(f"{kind}: write EncryptedArrayField(CharField()) for a list.")
    plain_class: Any = type(field)
    return _kind(plain_class, _ours(field))(
        field,
        key=key,
        context=context,
        previous_contexts=previous_contexts,
        bind_to=bind_to,
        previous_bindings=previous_bindings,
        copy_of=copy_of,
        converts=converts,
        on_denied=on_denied,
        legacy=legacy,
    )


class PreparedTextMixin(EncryptedFieldMixin):
    """Writes the text of what a field prepares for the database."""

    def to_plaintext(self, value: Any) -> bytes:
        prepared = self.get_prep_value(value)
        if isinstance(prepared, _WRITTEN_AS_TEXT):
            return str(prepared).encode()
        del value, prepared  # error reports show variables
        raise TypeError(f"{self}: what the field prepares for the database has no text.")

    def from_plaintext(self, plaintext: bytes) -> Any:
        written = plaintext.decode()
        return written if hasattr(self.plain_class, "from_db_value") else self.to_python(written)

    plain_class: type


class AnyAttribute(EncryptedAttribute):
    """An attribute that opens the value, and has that of the plain field make something of it.

    Attributes:
        inner: the attribute of the plain field; None where it is Django's own.
    """

    def __init__(self, field: Any, inner: Any = None) -> None:
        super().__init__(field)
        kind = field.plain_class.descriptor_class
        self.inner = kind(field) if inner is None and kind is not DeferredAttribute else inner

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None or self.inner is None:
            return super().__get__(instance, cls)
        was = instance.__dict__.get(self._name, MISSING)
        value = super().__get__(instance, cls)
        if isinstance(value, Mask | PreparedValue):
            return value
        if was is not MISSING and not isinstance(was, SealedValue):
            return self.inner.__get__(instance, cls)
        held = instance.__dict__[self._name]
        # As Django would have given it what the database holds.
        self.inner.__set__(instance, value)
        try:
            return self.inner.__get__(instance, cls)
        finally:
            if isinstance(held, SealedValue):  # it is one that stays
                instance.__dict__[self._name] = held

    def __set__(self, instance: Any, value: Any) -> None:
        stands_for_one = isinstance(value, SealedValue | Mask | PreparedValue)
        if self.inner is None or stands_for_one or self._assigned(instance, value) is not value:
            super().__set__(instance, value)
        else:
            self.inner.__set__(instance, value)


class AnyMixin(FieldBase):
    """What a field has that `encrypted()` made.

    Attributes:
        plain_class: the class of the plain field.
    """

    descriptor_class = AnyAttribute
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

    def contribute_to_class(self, cls: Any, name: str, **options: Any) -> None:  # type: ignore[override]
        super().contribute_to_class(cls, name, **options)
        attribute = vars(cls).get(self.attname)
        if not isinstance(attribute, EncryptedAttribute):  # the plain class set its own
            setattr(cls, self.attname, AnyAttribute(self, attribute))

    def __reduce__(self) -> Any:
        if hasattr(self, "model"):
            return super().__reduce__()
        _, _, args, options = self.deconstruct()
        return _made, (*args, options)  # no module has the class


def _made(field: models.Field[Any, Any], options: dict[str, Any]) -> Any:
    return encrypted(field, **options)


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
    body: dict[str, Any] = {"plain_class": plain_class, "__module__": plain_class.__module__}
    if hasattr(plain_class, "from_db_value"):
        body["from_plaintext"] = _converted(plain_class, ours)
    return type(f"Encrypted{plain_class.__name__}", (AnyMixin, ours, plain_class), body)


def _converted(plain_class: Any, ours: Any) -> Any:
    def from_plaintext(self: Any, plaintext: bytes) -> Any:
        stored = super(AnyMixin, self).from_plaintext(plaintext)
        return plain_class.from_db_value(self, stored, None, connection)

    return from_plaintext
