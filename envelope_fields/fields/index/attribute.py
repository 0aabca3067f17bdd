"""What an object holds of a blind index: the bytes of its row, which nothing that writes asks for.

The index of a value follows from the value. So whatever an object holds, a statement that writes
the value computes its index, and one that leaves the value alone leaves the index alone.
"""

from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Model
from django.db.models.query_utils import DeferredAttribute

from envelope_fields.fields.prepared import PreparedValue


class StoredIndex(bytes):
    """The bytes of an index as a row, or a fixture, has them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<StoredIndex>"

    __str__ = __repr__


class IndexedRow(PreparedValue):
    """What travels from `pre_save` in place of an index: the row whose values it is made of.

    Attributes:
        brought: what a fixture brings of it.
    """

    __slots__ = ("brought", "instance")

    def __init__(self, instance: Model | None, brought: Any = None) -> None:
        self.instance = instance
        self.brought = brought


class InsertedRow(PreparedValue):
    """The same of a row that is inserted: no statement says what it has of the values."""

    __slots__ = ("instance",)
    brought = None

    def __init__(self, instance: Model) -> None:
        self.instance = instance


class IndexAttribute(DeferredAttribute):
    """The attribute of a blind index: it can be read, and is not assigned."""

    field: Any

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None:
            return self
        name = self.field.attname
        if name not in instance.__dict__:
            return super().__get__(instance, cls)
        return instance.__dict__[name]

    def __set__(self, instance: Any, value: Any) -> None:
        # What was loaded, also by `refresh_from_db()`; nothing is written of it.
        if value is not None and not isinstance(value, StoredIndex | PreparedValue):
            raise refused(self.field)
        instance.__dict__[self.field.attname] = value

    def __delete__(self, instance: Any) -> None:
        instance.__dict__.pop(self.field.attname, None)


def refused(index: Any) -> FieldError:
    """Return the error for code that would write an index by itself."""
    names = " and ".join(index.source_names)
    return FieldError(
        f"{index} is a blind index: it follows from {names}, and cannot be written by itself. "
        f"Write {names} instead."
    )
