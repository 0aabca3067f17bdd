"""The attribute of an encrypted field: it opens what an object holds, when it is read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.db.models import Model
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import class_prepared, post_init

from envelope_fields.fields.prepared import StoredEnvelope
from envelope_fields.fields.sealed import (
    MISSING,
    AssignedValue,
    BroughtValue,
    SealedValue,
    sealed_in,
)


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
        held = data.get(name, MISSING)
        # Most are, and it is the fast way. That of another field may be a mask.
        if type(held) is SealedValue and held.field is self.field and not self._masks:
            value = data[name] = held.field.opened(held)
            return value
        if held is MISSING:
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
        if kind is SealedValue and value.row is MISSING:  # it is being loaded
            value.row = data.get(self.row_name, MISSING)
        elif issubclass(kind, SealedValue):
            if value.row is MISSING:
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
        if sealed is not None and sealed.row is MISSING:
            sealed.row = field.row_of(instance)
