"""The attribute of a column in clear that is converted: it mirrors that of the encrypted field.

An object has one value, and it is that of the encrypted field, whichever column it was loaded from.
"""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Model
from django.db.models.query_utils import DeferredAttribute

from envelope_fields.fields.prepared import PreparedValue
from envelope_fields.fields.sealed import MISSING, SealedValue


class _Mirrored(PreparedValue):
    """What an object holds of a column in clear: that its value is the encrypted field's."""

    __slots__ = ()

    def __reduce__(self) -> str:
        return "MIRRORED"


MIRRORED = _Mirrored()


class MirroredRow(PreparedValue):
    """What travels in the place of the value of a column in clear: the row that has it."""

    __slots__ = ("instance",)

    def __init__(self, instance: Model | None) -> None:
        self.instance = instance  # None where the statement alone has the value


class LoadedInClear(PreparedValue):
    """A value that `raw()` has read from the column in clear."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Emptied(PreparedValue):
    """NULL that was read from the column in clear, beside an envelope."""

    __slots__ = ("envelope",)

    def __init__(self, envelope: bytes) -> None:
        self.envelope = envelope


class EmptiedValue(SealedValue):
    """None, as the column in clear has it that is read, and the envelope beside it.

    An old build has written NULL; or the keys were restored to a phase from before the column was
    emptied. So a save of its object leaves both columns as they are, until a value is assigned.
    """

    __slots__ = ()
    is_replaced = False
    is_null = True  # where it is written elsewhere

    def open(self) -> None:
        return None

    def as_kind(self, kind: type[SealedValue]) -> Any:
        """Return None, which is what another object is given."""
        return None


class _Given(LoadedInClear):
    """A value that a constructor is given by the name of the column in clear."""

    __slots__ = ()


class ClearAttribute(DeferredAttribute):
    """The attribute of a column in clear: what is read and assigned is the encrypted field's."""

    field: Any

    def __init__(self, field: Any) -> None:
        super().__init__(field)
        self._name = field.attname

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None:
            return self
        held = instance.__dict__.get(self._name)
        if type(held) is MirroredRow:  # a raw save asks for it
            return held
        return getattr(instance, self.field.values.attname)

    def __set__(self, instance: Any, value: Any) -> None:
        if value is MIRRORED or type(value) is MirroredRow:  # of every object that is loaded
            instance.__dict__[self._name] = value
            return
        data, name = instance.__dict__, self._name
        encrypted = self.field.values.attname
        if type(value) is Emptied:
            data[name] = value
            if data.get(encrypted, value) is None:  # it is loaded before
                setattr(instance, encrypted, data.pop(encrypted))
            return
        if type(value) is LoadedInClear:
            data[name] = MIRRORED
            setattr(instance, encrypted, value.value)
        elif instance._state.adding and encrypted not in data:
            data[name] = _Given(value)  # the constructor comes to the encrypted field yet
        else:
            data[name] = MIRRORED
            setattr(instance, encrypted, value)

    def __delete__(self, instance: Any) -> None:
        instance.__dict__.pop(self._name, None)


def loaded_null(field: Any, data: dict[str, Any]) -> EmptiedValue | None:
    """Return what an object with these attributes holds that is given None for a field."""
    held, emptied = data.get(field.attname), data.get(field.converts)
    if type(held) is EmptiedValue:
        return held
    if type(emptied) is not Emptied or field.attname in data:
        return None
    data[field.converts] = MIRRORED
    return EmptiedValue(field, emptied.envelope)


def find_emptied(instance: Model, fields: Iterable[Any]) -> None:
    """Have an object that was refreshed know of envelopes beside NULL, as one that is loaded does.

    It was given None, as of every NULL.
    """
    using = instance._state.db
    for field in fields:
        is_null = vars(instance).get(field.attname, MISSING) is None
        if is_null and field.converts and field.column_in_clear(None, using) is not None:
            rows = type(instance)._base_manager.using(using).filter(pk=instance.pk)
            row = rows.only(field.attname, field.converts).first()
            if row is not None and type(vars(row).get(field.attname)) is EmptiedValue:
                vars(instance)[field.attname] = vars(row)[field.attname]


def mirrored_row(plain: Any, instance: Model) -> MirroredRow:
    """Return what travels in the place of the value that an object has of a column in clear.

    Raises:
        FieldError: the object was made with another value for it than for the encrypted field.
    """
    held, field = vars(instance).get(plain.attname), plain.values
    if type(held) is _Given and held.value != getattr(instance, field.attname):
        del held  # error reports show variables
        raise refused(plain)
    return MirroredRow(instance)


def refused(plain: Any) -> FieldError:
    """Return the error for code that would write a column in clear by itself."""
    field = plain.values
    return FieldError(
        f"{plain} is the column in clear that {field} converts, and is written together with it. "
        f"Write {field.name} instead."
    )
