"""What the values of an encrypted field are bound to: its labels, and the row of each."""

from collections.abc import Callable
from functools import cached_property, partial, wraps
from operator import itemgetter
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import Model
from django.db.models.signals import post_init

from envelope_fields.crypto.context import field_context
from envelope_fields.fields.bound_columns import (
    Binding,
    Names,
    bound_columns,
    column_named,
    names_in,
)
from envelope_fields.fields.sealed import MISSING, SealedValue, sealed_in
from envelope_fields.fields.types import FieldBase


class BindingMixin(FieldBase):
    """Knows the contexts of a field's values (docs/spec/envelope-v1.md, "Context").

    Attributes:
        is_bound: whether values are bound to columns of their row, or were before.
    """

    context: str | None
    previous_contexts: tuple[str, ...]
    bind_to: Names
    previous_bindings: tuple[Names, ...]
    is_bound: bool
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
    def bound_fields(self) -> tuple[Any, ...]:
        """The fields whose columns values are bound to, or were before.

        Those that there are: what is wrong is said when something is bound, and by checks.
        """
        bindings = (self.bind_to, *self.previous_bindings)
        names = dict.fromkeys(name for each in bindings for _, name in names_in(each))
        found = (column_named(self.model, name) for name in names)
        return tuple(dict.fromkeys(field for field in found if field is not None))

    @cached_property
    def key_names(self) -> tuple[str, ...]:
        """The attributes in which an object has the primary key of its row."""
        return tuple(field.attname for field in self.model._meta.pk_fields)

    @cached_property
    def row_names(self) -> tuple[str, ...]:
        """The attributes that say which row an object is of: its key, and bound columns."""
        bound = (field.attname for field in self.bound_fields)
        return tuple(dict.fromkeys((*self.key_names, *bound)))

    def row_in(self, data: dict[str, Any]) -> Any:
        """Return the row of an object with these attributes; None for what it has not yet."""
        names = self.row_names
        if len(names) == 1:
            return data.get(names[0])
        return tuple(map(data.get, names))

    def row_of(self, instance: Model) -> Any:
        """Return the row of an object in the table of this field."""
        try:
            return self.row_getter(instance.__dict__)
        except KeyError:
            if not self.is_bound and instance._meta.concrete_model is self.model:
                return self.row_in(instance.__dict__)
        # A bound column may be deferred; the key of a parent is in the link to it: no query.
        row = tuple(getattr(instance, name) for name in self.row_names)
        return row if len(row) > 1 else row[0]

    def row_as_loaded(self, row: Any) -> Any:
        """Return the row as a loaded object has it: code may have assigned the text of a UUID."""
        values = row if len(self.row_names) > 1 else (row,)
        columns = map(self.model._meta.get_field, self.row_names)
        try:
            loaded = tuple(map(lambda column, value: column.to_python(value), columns, values))
        except ValidationError:
            return row
        return loaded if len(loaded) > 1 else loaded[0]

    @cached_property
    def row_getter(self) -> Callable[[dict[str, Any]], Any]:
        """What returns the row among the attributes of an object; KeyError where some are not."""
        return itemgetter(*self.row_names)

    def key_of(self, instance: Model) -> Any:
        """Return the primary key of the row of an object in the table of this field.

        It is not that of the object where its model has another parent before this field's.
        """
        keys = tuple(getattr(instance, name) for name in self.key_names)
        return keys if len(keys) > 1 else keys[0]

    def key_in(self, row: Any) -> Any:
        """Return the primary key of a row."""
        keys = len(self.key_names)
        if keys == len(self.row_names):
            return row
        return row[0] if keys == 1 else row[:keys]

    @cached_property
    def contexts(self) -> tuple[bytes, ...]:
        """The contexts under which a value may be read; the first is the one to write with.

        Raises:
            TypeError: values are bound to their rows, so that each has its own.
        """
        if self.is_bound:
            raise TypeError(f"{self} is bound to its rows: ask contexts_of().")
        return tuple(map(field_context, self._labels))

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        labels = (self.label, *self.previous_contexts, *(self.copied or ())[:1])
        return tuple(dict.fromkeys(labels))

    @cached_property
    def bindings(self) -> tuple[Binding, ...]:
        """What values may be bound to: each label with each set of columns, the present ones first.

        Raises:
            ImproperlyConfigured: values cannot be bound to a column.
        """
        several = dict.fromkeys((self.bind_to, *self.previous_bindings))
        columns = [bound_columns(self.model, names) for names in several]
        return tuple(
            Binding(label, each, self.row_names) for label in self._labels for each in columns
        )

    def contexts_of(self, row: Any) -> tuple[bytes, ...]:
        """Return the contexts under which the value of a row may be read, the present one first.

        Args:
            row: as `row_of` has it.

        Raises:
            ImproperlyConfigured: values cannot be bound to a column.
            FieldError, TypeError, ValueError: they cannot be bound to what it has now.
        """
        if not self.is_bound:
            return self.contexts
        bindings = self.bindings
        row = row if len(self.row_names) > 1 else (row,)
        if len(bindings) == 1:  # most have no other
            return (bindings[0].context(row),)
        return tuple(binding.context(row) for binding in bindings)

    def context_of(self, row: Any, using: str | None = None) -> bytes:
        """Return the context to write the value of a row with; errors as above.

        Args:
            row: as `row_of` has it.
            using: the database that it is written to.
        """
        row = row if len(self.row_names) > 1 else (row,)
        return self.bindings[0].context_to_write(row, using)


def note_rows(model: Any, fields: list[Any]) -> None:
    """Have the values of a model's fields know their row, by its primary key.

    Where all of it is loaded before a value, the attribute notes it; elsewhere it is noted at the
    end of loading, which takes many times as long.
    """
    names = [field.attname for field in model._meta.concrete_fields]
    later = []
    for field in fields:
        before = names[: names.index(field.attname)]
        comes_before = all(name in before for name in field.row_names)
        attribute: Any = getattr(model, field.attname, None)
        if comes_before and hasattr(attribute, "note_row"):  # unless a class has one of its own
            attribute.note_row(field.row_getter)
        # `only()` leaves out the primary key of a parent, which an object has in its link, too.
        if not comes_before or field.model._meta.concrete_model is not model._meta.concrete_model:
            later.append(field)
    bound = [field for field in later if field.is_bound]
    if bound:
        _note_when_loaded(model, bound)
    later = [field for field in later if not field.is_bound]
    if later:
        uid = "envelope_fields.sealed.rows"
        post_init.connect(partial(_note_row, later), sender=model, weak=False, dispatch_uid=uid)


def _note_when_loaded(model: Any, fields: list[Any]) -> None:
    """Note rows where objects are loaded: it takes half as long as a signal of each object."""
    original = model.from_db.__func__
    noted = [(field.attname, field.row_getter) for field in fields]

    @wraps(original)
    def from_db(cls: Any, *args: Any, **kwargs: Any) -> Any:
        instance = original(cls, *args, **kwargs)
        data = instance.__dict__
        for name, row_in in noted:
            sealed = data.get(name)
            if isinstance(sealed, SealedValue) and sealed.row is MISSING:
                try:
                    sealed.row = row_in(data)
                except KeyError:
                    _note_row(fields, instance=instance)
        return instance

    model.from_db = classmethod(from_db)


def _note_row(fields: list[Any], *, instance: Model, **_: Any) -> None:
    for field in fields:
        sealed = sealed_in(instance, field)
        if sealed is None or sealed.row is not MISSING:
            continue
        data = instance.__dict__
        if all(bound.attname in data for bound in field.bound_fields):
            sealed.row = field.row_of(instance)
        elif type(sealed) is SealedValue:
            del data[field.attname]  # what it is bound to is deferred, and so is the value


# Where the models that django-simple-history and django-pghistory make name the one they follow.
_MARKS = ("instance_type", "pgh_tracked_model")


def tracked_model(model: Any) -> Any:
    """Return the model whose rows another keeps as they were; None if it keeps none."""
    for mark in _MARKS:
        tracked = getattr(model, mark, None)
        if hasattr(tracked, "_meta"):
            return tracked
    return None
