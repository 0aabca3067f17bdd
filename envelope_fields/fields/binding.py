"""What the values of an encrypted field are bound to: its labels, and the row of each."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from django.db.models.signals import post_init

from envelope_fields.crypto.context import field_context
from envelope_fields.fields.sealed import MISSING, sealed_in
from envelope_fields.fields.types import FieldBase


class BindingMixin(FieldBase):
    """Knows the contexts of a field's values (docs/spec/envelope-v1.md, "Context")."""

    context: str | None
    previous_contexts: tuple[str, ...]
    copy_of: str | None
    _copied: tuple[str, str] | None = None  # label and path of the field that this was made of

    def contribute_to_class(self, cls: type[Model], name: str, **options: Any) -> None:  # type: ignore[override]
        # A history of a model has copies of that model's own fields, and its rows are copied with
        # the values in them. Fields of an abstract model are copied, too, and have no rows.
        source = self.__dict__.get("model")
        if source is not None and source is not cls and not source._meta.abstract:
            self._copied = self.label, self.field_path
        super().contribute_to_class(cls, name, **options)

    @cached_property
    def label(self) -> str:
        """What this field's values are bound to: `app_label.model.field`, or what is pinned."""
        return self.context or self.field_path

    @cached_property
    def field_path(self) -> str:
        """Where this field is, as grants name it: `app_label.model.field`, whatever is pinned."""
        return f"{self.model._meta.label_lower}.{self.name}".lower()

    @cached_property
    def copied(self) -> tuple[str, str] | None:
        """The label and the field path of the field that this one is a copy of, if it is one."""
        if not self.copy_of:
            return self._copied
        if self.original is None:
            return self.copy_of.lower(), self.copy_of.lower()
        return self.original.label, self.original.field_path

    @property
    def original(self) -> Any:
        """The field that `copy_of=` names, or None if there is none."""
        model, _, name = (self.copy_of or "").rpartition(".")
        try:
            return self.model._meta.apps.get_model(model)._meta.get_field(name)
        except (LookupError, ValueError, FieldDoesNotExist):
            return None

    def is_copy_of(self, field: Any) -> bool:
        """Whether the values of this field are copies of those of another."""
        return self.copied is not None and self.copied[1] == field.field_path

    @cached_property
    def row_names(self) -> tuple[str, ...]:
        """The attributes in which an object has the primary key of its row."""
        return tuple(field.attname for field in self.model._meta.pk_fields)

    def row_in(self, data: dict[str, Any]) -> Any:
        """Return the primary key among the attributes of an object; None if it has none yet."""
        names = self.row_names
        if len(names) == 1:
            return data.get(names[0])
        return tuple(map(data.get, names))

    def row_of(self, instance: Model) -> Any:
        """Return the primary key that an object has in the table of this field."""
        data, name = instance.__dict__, self.row_names[0]
        if name not in data and instance._meta.concrete_model is not self.model:
            return getattr(instance, name)  # of a parent, by the link to it: no query is made
        return self.row_in(data)

    @cached_property
    def contexts(self) -> tuple[bytes, ...]:
        """The contexts under which a value may be read; the first is the one to write with."""
        labels = (self.label, *self.previous_contexts, *(self.copied or ())[:1])
        return tuple(map(field_context, dict.fromkeys(labels)))


def note_rows(model: Any, fields: list[Any]) -> None:
    """Have the values of a model's fields know their row, by its primary key.

    Where that is loaded before a value, the attribute notes it; elsewhere it is noted at the end of
    loading, which takes many times as long.
    """
    names = [field.attname for field in model._meta.concrete_fields]
    later = []
    for field in fields:
        row_name, *others = field.row_names
        comes_before = not others and names.index(row_name) < names.index(field.attname)
        attribute: Any = getattr(model, field.attname, None)
        if comes_before and hasattr(attribute, "row_name"):  # unless a class has one of its own
            attribute.row_name = row_name
        # `only()` leaves out the primary key of a parent, which an object has in its link, too.
        if not comes_before or field.model._meta.concrete_model is not model._meta.concrete_model:
            later.append(field)
    if later:
        uid = "envelope_fields.sealed.rows"
        post_init.connect(partial(_note_row, later), sender=model, weak=False, dispatch_uid=uid)


def _note_row(fields: list[Any], *, instance: Model, **_: Any) -> None:
    for field in fields:
        sealed = sealed_in(instance, field)
        if sealed is not None and sealed.row is MISSING:
            sealed.row = field.row_of(instance)


# Where the models that django-simple-history and django-pghistory make name the one they follow.
_MARKS = ("instance_type", "pgh_tracked_model")


def tracked_model(model: Any) -> Any:
    """Return the model whose rows another keeps as they were; None if it keeps none."""
    for mark in _MARKS:
        tracked = getattr(model, mark, None)
        if hasattr(tracked, "_meta"):
            return tracked
    return None
