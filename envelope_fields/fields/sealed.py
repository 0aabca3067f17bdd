"""Sealed values: what an object holds of an encrypted field until a caller looks at it.

An object that is loaded holds the envelope of each value, and a handle of its key version. The
attribute opens the envelope when it is read, for the principal who reads it, and keeps the value
in the object from then on. What is not read costs next to nothing, and is saved by leaving its
column alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from copy import deepcopy
from functools import partial
from typing import Any, NoReturn

from django.apps import apps
from django.db import DatabaseError
from django.db.models import Model
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import class_prepared, post_init

from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.carriers import Kept, StoredEnvelope, Unencrypted
from envelope_fields.keyring import Handle, version_of

_logger = logging.getLogger(__name__)

_MISSING: Any = object()


class SealedValue:
    """A value as its row has it.

    It is equal to what it opens to, and everything else that a text or a number can do is refused:
    read the attribute of the object instead.

    Attributes:
        field: the encrypted field that it was loaded by.
        envelope: the stored bytes.
        handle: of the key version; None where it was unknown or could not be used.
        row: the primary key of the row, or a marker for one that is not known.
    """

    __slots__ = ("envelope", "field", "handle", "row")
    is_replaced = True  # by the value, in the object, once that is opened

    def __init__(self, field: Any, envelope: bytes, handle: Handle | None = None) -> None:
        self.field = field
        self.envelope = envelope
        self.handle = handle
        self.row: Any = _MISSING

    def open(self) -> Any:
        """Return the value, or its mask, for the principal who is bound to this code.

        Raises:
            EnvelopeError: it does not open, or not for this principal.
        """
        return self.field.opened(self)

    def as_kind(self, kind: type[SealedValue]) -> SealedValue:
        """Return the same value as one of another class."""
        value = kind(self.field, self.envelope, self.handle)
        value.row = self.row
        return value

    def belongs_to(self, data: dict[str, Any]) -> None:
        """Note the row of the object with these attributes, if its primary key is there yet."""
        if self.field.row_names[-1] in data:
            self.row = self.field.row_in(data)

    def where(self) -> str:
        """Return in which row it is, to end a message with."""
        return "" if self.row is _MISSING else f" It is in the row with the primary key {self.row}."

    def prepared(self, field: Any, instance: Model, add: bool) -> Kept | StoredEnvelope | None:
        """Return what is written in its place without opening it; None if it has to be opened.

        Args:
            field: the field that is written.
            instance: the object that is saved.
            add: whether its row is inserted.
        """
        if field.is_copy_of(self.field):
            return StoredEnvelope(self.envelope, field.label)
        if add or field != self.field or self._has_moved(field, instance):
            return None
        return Kept(self, instance)

    def as_text(self, field: Any, instance: Model) -> str | None:
        """Return its envelope as text where a dump has that as it is; None where it is opened."""
        return None

    def _has_moved(self, field: Any, instance: Model) -> bool:
        return self._is_of_another(field, instance) or self._has_another_key(field, instance)

    def _is_of_another(self, field: Any, instance: Model) -> bool:
        """Whether the object stands for another row than it was loaded from."""
        return bool(self.row != field.row_of(instance))

    def _has_another_key(self, field: Any, instance: Model) -> bool:
        """Whether the row chooses another key by now, such as that of another tenant."""
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
        row = None if self.row is _MISSING else (self.row,)
        names = self.field.model._meta.label, self.field.name
        return _unpickled, (type(self), names, self.envelope, row)

    def __copy__(self) -> SealedValue:
        return self

    def __deepcopy__(self, memo: Any) -> SealedValue:
        return self

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError(
            f"The value of {self.field} is sealed. Read the attribute of the object, which opens "
            "it, instead of what the object keeps inside."
        )

    __str__ = __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __format__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __int__ = __float__ = _refuse
    __bytes__ = _refuse


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

    """

    __slots__ = ("_seen",)

    @property
    def value(self) -> list[Any]:
        """The value, in a list, if code has looked."""
        return self._seen

    is_replaced = False

    def __init__(self, field: Any, envelope: bytes, handle: Handle | None = None) -> None:
        super().__init__(field, envelope, handle)
        self._seen: list[Any] = []

    def open(self) -> Any:
        if not self._seen:
            value = super().open()
            if self.field.is_mask(value):  # another principal may look next
                return value
            self._seen.append(value)
        return self._seen[0]

    def prepared(self, field: Any, instance: Model, add: bool) -> Any:
        if self._is_changed():
            return Unencrypted(self._seen[0], instance)
        return StoredEnvelope(self.envelope, self.field.label)

    def as_text(self, field: Any, instance: Model) -> str | None:
        return None if self._is_changed() else layout.encode_text(self.envelope)

    def __deepcopy__(self, memo: Any) -> SealedValue:
        copied: Any = self.as_kind(type(self))
        copied._seen.extend(deepcopy(self._seen, memo))
        return copied  # type: ignore[no-any-return]  # of this class

    def __reduce__(self) -> Any:
        return *super().__reduce__(), (None, {"_seen": self._seen})  # it may have been changed

    def saved(self, row: Any) -> Any:
        """Return what an object holds in its place when its row has been written."""
        if self._seen:
            return self._seen[0]
        value = SealedValue(self.field, self.envelope)
        value.row = row
        return value

    def _is_changed(self) -> bool:
        if not self._seen or self._seen[0].__hash__ is not None:  # a text cannot be changed
            return False
        to_plaintext = self.field.to_plaintext
        return bool(to_plaintext(self._seen[0]) != to_plaintext(super().open()))


def _unpickled(
    kind: type[SealedValue], names: tuple[str, str], envelope: bytes, row: tuple[Any] | None
) -> SealedValue:
    label, name = names
    value = kind(apps.get_model(label)._meta.get_field(name), envelope)
    if row is not None:
        value.row = row[0]
    return value


class EncryptedAttribute(DeferredAttribute):
    """The attribute of an encrypted field: it opens what the object holds, and keeps the value."""

    field: Any

    def __init__(self, field: Any) -> None:
        super().__init__(field)
        self._name = field.attname
        self._masks = field.masks
        # The attribute that has the primary key; none where it takes several, or comes later.
        self.row_name: str | None = None

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None:
            return self
        data, name = instance.__dict__, self._name
        held = data.get(name, _MISSING)
        # Most are, and it is the fast way. That of another field may be a mask.
        if type(held) is SealedValue and held.field is self.field and not self._masks:
            value = data[name] = held.field.opened(held)
            return value
        if held is _MISSING:
            super().__get__(instance, cls)  # it was deferred, and is loaded now
            held = data[name]
        if not isinstance(held, SealedValue):
            return held
        value = held.open()
        if held.is_replaced and not self.field.is_mask(value):
            data[name] = value
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        data = instance.__dict__
        kind = type(value)
        if kind is SealedValue and value.row is _MISSING:  # it is being loaded
            value.row = data.get(self.row_name, _MISSING)
        elif issubclass(kind, SealedValue):
            if value.row is _MISSING:
                value.belongs_to(data)
            elif kind is SealedValue and self._is_assigned(instance, value):
                value = value.as_kind(AssignedValue)
        elif kind is StoredEnvelope:
            value = BroughtValue(self.field, value.envelope)
        else:
            held = data.get(self._name)
            if isinstance(held, SealedValue) and self.field.is_shown_for(value, held):
                return  # what was shown in the place of the value does not replace it
            value = self.field.unmasked(value)
        data[self._name] = value

    def _is_assigned(self, instance: Any, value: SealedValue) -> bool:
        """Whether code assigns a value, rather than Django which makes an object of a row."""
        if instance._state.adding and self._name not in instance.__dict__:
            return False
        return instance.__dict__.get(self._name) is not value

    def __delete__(self, instance: Any) -> None:
        try:
            del instance.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None

    def fetch_many(self, instances: Iterable[Any]) -> None:
        """Load the values of several objects at once, and open none (Django 6.1)."""
        lacking = [
            each for each in instances if self._name not in each.__dict__ and each._is_pk_set()
        ]
        if not lacking:
            return
        manager = self.field.model._base_manager.using(lacking[0]._state.db)
        found = manager.only(self._name).in_bulk([each.pk for each in lacking])
        for each in lacking:
            if each.pk in found:
                each.__dict__[self._name] = found[each.pk].__dict__[self._name]


def sealed_in(instance: Model, field: Any) -> SealedValue | None:
    """Return the sealed value that an object holds for a field; None if it holds a plain one."""
    held = instance.__dict__.get(field.attname)
    return held if isinstance(held, SealedValue) else None


def watch_models() -> None:
    """Look at each model when it is declared."""
    class_prepared.connect(_prepared, dispatch_uid="envelope_fields.sealed.prepared")


def _prepared(*, sender: Any, **_: Any) -> None:
    """Note rows at the end of loading where the primary key is loaded after a value.

    Elsewhere the attribute does, which takes a fraction of the time.
    """
    names = [field.attname for field in sender._meta.concrete_fields]
    later = []
    for field in sender._meta.concrete_fields:
        if not hasattr(field, "row_names"):
            continue
        position = names.index(field.attname)
        comes_before = len(field.row_names) == 1 and names.index(field.row_names[0]) < position
        attribute = getattr(sender, field.attname, None)
        if comes_before and isinstance(attribute, EncryptedAttribute):
            attribute.row_name = field.row_names[0]
        # `only()` leaves out the primary key of a parent, which an object has in its link, too.
        if not comes_before or field.model._meta.concrete_model is not sender._meta.concrete_model:
            later.append(field)
    if later:
        post_init.connect(
            partial(_note_rows, later),
            sender=sender,
            weak=False,
            dispatch_uid="envelope_fields.sealed.rows",
        )


def _note_rows(fields: list[Any], *, instance: Model, **_: Any) -> None:
    for field in fields:
        sealed = sealed_in(instance, field)
        if sealed is not None and sealed.row is _MISSING:
            sealed.row = field.row_of(instance)


def log_failure(error: Exception) -> None:
    """Log that a value could not be opened, since a template may swallow the error."""
    _logger.error("A value could not be opened. %s", error)


def open_values(objects: Iterable[Model], *fields: str) -> None:
    """Open encrypted values of objects now, instead of when a caller looks at them.

    Args:
        objects: objects that were loaded.
        *fields: the names of encrypted fields; without them, all that were not deferred.

    Raises:
        EnvelopeError: one does not open, or not for this principal.
    """
    for instance in objects:
        names = fields or [
            field.attname
            for field in encrypted_fields(instance)
            if field.attname in instance.__dict__
        ]
        for name in names:
            getattr(instance, name)


def encrypted_fields(instance: Model) -> list[Any]:
    """Return the encrypted fields of an object."""
    return [field for field in instance._meta.concrete_fields if hasattr(field, "to_plaintext")]
