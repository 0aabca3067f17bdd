"""Sealed values: what an object holds of an encrypted field until a caller looks at it.

An object that is loaded holds the envelope of each value, and a handle of its key version. The
attribute opens the envelope when it is read, for the principal who reads it, and keeps the value
in the object from then on. What is not read costs next to nothing, and is saved by leaving its
column alone.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NoReturn

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import DatabaseError
from django.db.models import Model

from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import DecryptionFailed, EnvelopeError
from envelope_fields.fields.legacy.base import is_envelope
from envelope_fields.fields.prepared import Kept, StoredEnvelope, Unencrypted
from envelope_fields.keyring import version_of
from envelope_fields.keyring.handles import Handle

MISSING: Any = object()


class SealedValue:
    """A value as its row has it.

    It is equal to what it opens to, and everything else that a text or a number can do is refused:
    read the attribute of the object instead.

    Attributes:
        field: the encrypted field that it was loaded by.
        envelope: the stored bytes.
        handle: of the key version; None where it was unknown or could not be used.
        row: what says which row it is of, as it was loaded: the primary key, and the columns that
            values of the field are bound to; or a marker where that is not known.
    """

    __slots__ = ("envelope", "field", "handle", "row")
    is_replaced = True  # by the value, in the object, once that is opened
    _advice = "Read the attribute of the object, which opens it, instead of what it keeps inside."

    def __init__(
        self, field: Any, envelope: bytes, handle: Handle | None = None, row: Any = MISSING
    ) -> None:
        self.field = field
        self.envelope = envelope
        self.handle = handle
        self.row = row

    def open(self) -> Any:
        """Return the value, or its mask, for the principal who is bound to this code.

        Raises:
            EnvelopeError: it does not open, or not for this principal.
        """
        return self.field.opened(self)

    def as_kind(self, kind: type[SealedValue]) -> SealedValue:
        """Return the same value as one of another class."""
        return kind(self.field, self.envelope, self.handle, self.row)

    def belongs_to(self, data: dict[str, Any]) -> None:
        """Note the row of the object with these attributes, if all of it is there yet."""
        if all(name in data for name in self.field.row_names):
            self.row = self.field.row_in(data)

    def where(self) -> str:
        """Return in which row it is, to end a message with."""
        if self.row is MISSING:
            return ""
        return f" It is in the row with the primary key {self.field.key_in(self.row)}."

    def prepared(self, field: Any, instance: Model, add: bool) -> Kept | StoredEnvelope | None:
        """Return what is written in its place without opening it; None if it has to be opened.

        Args:
            field: the field that is written.
            instance: the object that is saved.
            add: whether its row is inserted.
        """
        is_copied = field.is_copy_of(self.field) and is_envelope(self.envelope)
        if is_copied and self._opens_in(field, instance):
            return StoredEnvelope(self.envelope, field.label)
        is_given = add or instance._state.adding  # to a constructor: what is loaded adds nothing
        if is_given or field != self.field or self._has_moved(field, instance):
            return None
        return Kept(self, instance)

    def as_text(self) -> str | None:
        """Return its envelope as text where a dump has that as it is; None where it is opened."""
        return None

    def _opens_in(self, field: Any, instance: Model) -> bool:
        """Whether the row of a copy has what the value is bound to."""
        if not self.field.is_bound and not field.is_bound:
            return True
        if self.row is MISSING:
            return False
        # What it is bound to is not known before it is opened: to one of these.
        readable = field.contexts_of(field.row_of(instance))
        return set(self.field.contexts_of(self.row)).issubset(readable)

    def _has_moved(self, field: Any, instance: Model) -> bool:
        """Whether the object stands for another row, or that for another key, than when loaded."""
        row = field.row_of(instance)
        if row != self.row and field.row_as_loaded(row) != self.row:
            return True
        if not callable(field.key):
            return False
        alias = field.key(instance)
        try:
            return bool(version_of(layout.parse(self.envelope).version_id).alias != alias)
        except EnvelopeError as error:
            if isinstance(error.__cause__, DatabaseError):
                raise  # it may have another key, and would be gone with its own
            return False  # it cannot be read, and so it stays

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.field}>"

    def __eq__(self, other: object) -> Any:
        if self is other:
            return True
        if isinstance(other, SealedValue):
            if (self.field, self.envelope) == (other.field, other.envelope):
                return True
            other = other.open()
        if other is None:
            return False
        try:
            return self.open() == other
        except BaseException:
            del other  # error reports show variables
            raise

    __hash__ = None  # type: ignore[assignment]  # what is equal to a list has no hash

    def __reduce__(self) -> Any:
        # No handle: the principal who loads the pickle is asked for again.
        row = () if self.row is MISSING else (self.row, self.field.row_names)
        names = self.field.model._meta.label, self.field.name
        return _unpickled, (type(self), names, self.field.portable(self), *row)

    def __copy__(self, memo: Any = None) -> SealedValue:
        return self

    __deepcopy__ = __copy__

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError(f"The value of {self.field} is sealed. {self._advice}")

    __str__ = __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __format__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __int__ = __float__ = _refuse
    __bytes__ = _refuse


class SealedEnvelope(bytes):
    """The envelope of a sealed value, for the `from_db_value()` of a subclass of a field.

    Attributes:
        sealed: the value.
    """

    sealed: SealedValue

    @classmethod
    def of(cls, sealed: SealedValue) -> SealedEnvelope:
        """Return the envelope of a value."""
        envelope = cls(sealed.envelope)
        envelope.sealed = sealed
        return envelope


class AssignedValue(SealedValue):
    """A sealed value that code has taken from an object and assigned: it is written."""

    __slots__ = ()

    def prepared(self, field: Any, instance: Model, add: bool) -> Kept | StoredEnvelope | None:
        prepared = super().prepared(field, instance, add)
        return None if isinstance(prepared, Kept) else prepared


class BroughtValue(SealedValue):
    """An envelope that a fixture or a draft brings: it is stored as it is, unless it is changed.

    Code that looks at the object meanwhile, such as a receiver of `pre_save`, finds the value;
    its key may come later in the fixture.

    Attributes:
        value: in a list, the value, if code has looked.
    """

    __slots__ = ("value",)
    is_replaced = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.value: list[Any] = []

    def open(self) -> Any:
        if not self.value:
            value = super().open()
            if getattr(value, "sealed", None) is self:  # a mask: another principal may look next
                return value
            self.value.append(value)
        return self.value[0]

    def prepared(self, field: Any, instance: Model, add: bool) -> Any:
        if self._is_changed():
            return Unencrypted(self.value[0], instance)
        return StoredEnvelope(self.envelope, self.field.label, instance)

    def as_text(self) -> str | None:
        return None if self._is_changed() else layout.encode_text(self.envelope)

    def __deepcopy__(self, memo: Any = None) -> SealedValue:
        copied: Any = self.as_kind(type(self))
        copied.value.extend(deepcopy(self.value, memo))
        return copied  # type: ignore[no-any-return]  # of this class

    def __reduce__(self) -> Any:
        return *super().__reduce__(), (None, {"value": self.value})  # it may have been changed

    def saved(self, row: Any) -> Any:
        """Return what an object holds in its place when its row has been written."""
        return self.value[0] if self.value else SealedValue(self.field, self.envelope, None, row)

    def _is_changed(self) -> bool:
        if not self.value or self.value[0].__hash__ is not None:  # a text cannot be changed
            return False
        to_plaintext = self.field.to_plaintext
        return bool(to_plaintext(self.value[0]) != to_plaintext(super().open()))


class LostField(str):
    """The path of a field that this code lacks, in the place of that."""

    field_path = property(str)


class LostValue(SealedValue):
    """A value that was pickled by code whose field this code lacks, or has in clear.

    The rest of its object is there; processes of two versions may have a cache in common.
    """

    __slots__ = ("_pickled",)
    _advice = "It was pickled by code that had this encrypted field. Load the object again."

    def __init__(self, *pickled: Any) -> None:
        _, names, envelope, *_ = self._pickled = pickled
        super().__init__(LostField(".".join(names)), envelope)

    def open(self) -> NoReturn:
        raise DecryptionFailed(f"The value of {self.field} cannot be opened. {self._advice}")

    def belongs_to(self, data: dict[str, Any]) -> None:
        """Note nothing: of its field, nothing is known."""

    def prepared(self, field: Any, instance: Model, add: bool) -> None:
        """Have it opened, which is refused."""

    def __reduce__(self) -> Any:
        return _unpickled, self._pickled


def _unpickled(
    kind: type[SealedValue],
    names: tuple[str, str],
    envelope: bytes,
    row: Any = MISSING,
    row_names: tuple[str, ...] | None = None,
) -> SealedValue:
    label, name = names
    try:
        field: Any = apps.get_model(label)._meta.get_field(name)
    except (LookupError, FieldDoesNotExist):
        field = None
    if not hasattr(field, "to_plaintext"):
        return LostValue(kind, names, envelope, *(() if row is MISSING else (row, row_names)))
    # It may be bound to other columns than when it was pickled: then those of its object count.
    is_known = field.row_names == (row_names or field.key_names)
    return kind(field, envelope, None, row if is_known else MISSING)


def sealed_in(instance: Model, field: Any) -> SealedValue | None:
    """Return the sealed value that an object holds for a field; None if it holds a plain one."""
    held = instance.__dict__.get(field.attname)
    return held if isinstance(held, SealedValue) else None


def encrypted_fields(model: Any) -> list[Any]:
    """Return the encrypted fields of a model, or of the model of an object."""
    return [field for field in model._meta.concrete_fields if hasattr(field, "to_plaintext")]
