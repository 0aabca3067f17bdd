"""The attribute of an encrypted field: it opens what an object holds, when a caller looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db.models.query_utils import DeferredAttribute

from envelope_fields.fields.masks import Mask, is_shown_for
from envelope_fields.fields.prepared import NOT_LOADED, Scoped, StoredEnvelope
from envelope_fields.fields.sealed import MISSING, AssignedValue, BroughtValue, SealedValue


class EncryptedAttribute(DeferredAttribute):
    """The attribute of an encrypted field: it opens what the object holds, and keeps the value."""

    field: Any

    def __init__(self, field: Any) -> None:
        super().__init__(field)
        self._name = field.attname
        # Whose values are opened at once; of rows that are bound to, it is looked whether they are
        # known.
        self._field_that_opens: Any = None if field.masks or field.is_bound else field
        self._row_in: Callable[[dict[str, Any]], Any] = _comes_later
        self._is_bound = field.is_bound

    def note_row(self, row_in: Callable[[dict[str, Any]], Any]) -> None:
        """Have values know their row when they are loaded.

        Args:
            row_in: returns it, given the attributes of an object, all of which come before the
                value; KeyError where one is deferred.
        """
        self._row_in = row_in

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        if instance is None:
            return self
        data, name = instance.__dict__, self._name
        try:
            held = data[name]
        except KeyError:
            held = MISSING
        # Most are, and it is the fast way. What another field opens may be a mask.
        if type(held) is SealedValue and held.field is self._field_that_opens:
            value = data[name] = held.field.opened(held)
            return value
        if held is MISSING:
            self._load(instance, cls)
            held = data[name]
        if not isinstance(held, SealedValue):
            return held
        if held.row is MISSING:
            held.belongs_to(data)
        value = held.open()
        if held.is_replaced and not isinstance(value, Mask):
            data[name] = value
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        data = instance.__dict__
        if type(value) is SealedValue and value.row is MISSING:  # it is being loaded
            try:
                value.row = self._row_in(data)
            except KeyError:
                if self._is_bound and self._row_in is not _comes_later:
                    return  # what it is bound to is deferred, and so is the value
        elif value is NOT_LOADED:
            return
        else:
            value = self._assigned(instance, value)
        data[self._name] = value

    def _load(self, instance: Any, cls: Any) -> None:
        """Load a value that was deferred."""
        if not self._is_bound or hasattr(instance._state, "fetch_mode"):
            super().__get__(instance, cls)
            return
        if not instance._is_pk_set():
            raise AttributeError(f"{self._name!r} cannot be loaded: the object was not saved.")
        self.fetch_one(instance)
        if self._name not in instance.__dict__:
            raise instance._meta.model.DoesNotExist(f"{self.field}: its row is gone.")

    def fetch_one(self, instance: Any) -> None:
        """Load the value of one object (Django 6.1).

        Of a row that it is bound to, what the object has stays, which may be about to be saved.
        """
        if self._is_bound:
            self.fetch_many([instance])
        else:
            super().fetch_one(instance)  # of Django 6.1

    def _assigned(self, instance: Any, value: Any) -> Any:
        """Return what an object holds when it is given a value."""
        data, held = instance.__dict__, instance.__dict__.get(self._name)
        if isinstance(value, SealedValue):
            if value.row is MISSING:
                value.belongs_to(data)
            elif type(value) is SealedValue and value is not held:
                # Django makes objects of rows in this way, too.
                is_new = instance._state.adding and self._name not in data
                return value if is_new else value.as_kind(AssignedValue)
            return value
        if type(value) is Scoped:
            value = value.value  # of get_or_create()
        if type(value) is StoredEnvelope:
            return BroughtValue(self.field, value.envelope)
        if isinstance(held, SealedValue) and is_shown_for(self.field, value, held):
            return held  # what was shown in the place of the value does not replace it
        return value.sealed if isinstance(value, Mask) else value

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
            # The key of a single one may be a text where that of the row is a UUID.
            row = found.get(each.pk) if len(lacking) > 1 else next(iter(found.values()), None)
            if row is not None:
                each.__dict__[self._name] = row.__dict__[self._name]


def _comes_later(data: dict[str, Any]) -> Any:
    raise KeyError
