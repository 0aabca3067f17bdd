"""The class of plain fields that an encrypted one extends, where it is not Django's.

What that of a package, or of a project, makes of values stays: what it stores of one, what it loads
of that, and what the attribute gives. An encrypted field takes the place of its column alone.
"""

from collections.abc import Callable
from functools import cached_property
from inspect import getattr_static
from typing import Any

from django.db import connection, models
from django.db.models.fields.related import RelatedField
from django.db.models.query_utils import DeferredAttribute

from envelope_fields.fields.attribute import EncryptedAttribute
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.prepared import PreparedValue
from envelope_fields.fields.sealed import MISSING, SealedValue
from envelope_fields.fields.types import FieldBase

_OURS, _DJANGOS = "envelope_fields.", "django."

# What no class of encrypted fields extends, and why.
_REFUSED = {
    (RelatedField, models.AutoField, models.CompositePrimaryKey, models.GeneratedField): (
        "the database compares keys and relations, and computes generated columns, which it cannot "
        "do with anything encrypted."
    ),
    (models.FileField,): (
        "the file would not be encrypted, but its name alone. Encrypt the contents with "
        "envelope_fields.kms, or keep them in an EncryptedBinaryField."
    ),
}


def own_classes(kinds: tuple[type, ...]) -> list[type]:
    """Return the classes of packages and projects among those of a field."""
    return [each for each in kinds if not each.__module__.startswith((_OURS, _DJANGOS, "builtins"))]


def plain_classes(kind: type) -> tuple[type, ...]:
    """Return what a class of encrypted fields extends that is not ours, nor comes before."""
    ours = [each.__module__.startswith(_OURS) for each in kind.__mro__]
    return kind.__mro__[len(ours) - ours[::-1].index(True) :]


class PlainAttribute(EncryptedAttribute):
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


class PlainMixin(FieldBase):
    """Has the plain class of a field make of values what it would without us.

    Attributes:
        plain_class: the plain class.
        from_column: returns what a column of the plain field would give, of a plaintext.
        asks_plain: whether that prepares what is stored.
        makes_null: whether NULL is stored for more than None.
    """

    plain_class: Any
    from_column: Any
    from_plaintext: Any
    asks_plain = False
    makes_null: Any = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for kinds, why in _REFUSED.items():
            if issubclass(cls, kinds):
                raise TypeError(f"{cls.__name__} is refused: {why}")
        cls.plain_class = plain = plain_classes(cls)[0]
        if not own_classes((plain,)):
            return
        if "descriptor_class" not in vars(cls):
            cls.descriptor_class = PlainAttribute
        declares = next(each for each in cls.__mro__ if "from_plaintext" in vars(each))
        if declares.__module__.startswith(_OURS) and hasattr(plain, "from_db_value"):
            if "from_column" not in dir(cls):
                cls.from_column = getattr_static(cls, "from_plaintext")
            cls.from_plaintext = _loaded

    @cached_property
    def converters_of_null(self) -> list[Callable[[Any, Any, Any], Any]]:
        """What makes a value of NULL, where the plain class does."""
        if type(self).from_plaintext is not _loaded:
            return []
        convert = self.plain_class.from_db_value

        def of_null(value: Any, expression: Any, connection: Any) -> Any:
            return convert(self, None, expression, connection) if value is None else value

        return [of_null]

    @cached_property
    def as_plain(self) -> Any:
        """A field like this of its plain class, where that itself prepares what is stored."""
        own = own_classes(plain_classes(type(self)))
        names = ("get_db_prep_save", "get_db_prep_value")
        if not any(name in vars(each) for each in own for name in names):
            return None
        plain = object.__new__(self.plain_class)
        vars(plain).update(vars(self), get_prep_value=self.get_prep_value)
        return plain

    def prepared_by_plain(self, value: Any) -> Any:
        """Return what the plain field stores of a value."""
        if self.as_plain is None:
            return self.get_prep_value(value)
        return self.as_plain.get_db_prep_save(value, connection)

    def open_attribute(self) -> None:
        """Have the attribute that the class of the field has made open what objects hold."""
        made = vars(self.model).get(self.attname)
        if not isinstance(made, EncryptedAttribute) and hasattr(made, "__set__"):
            setattr(self.model, self.attname, PlainAttribute(self, made))


def is_null(field: Any, value: Any) -> bool:
    """Whether a field of text stores NULL for a value: for what its class makes None of."""
    if value is None:
        return True
    try:
        return field.prepared_by_plain(value) is None
    except Exception:  # it is not a value, which is said where it is written
        return False


def _loaded(self: Any, plaintext: bytes) -> Any:
    return self.plain_class.from_db_value(self, self.from_column(plaintext), None, connection)
