"""The columns that values are bound to: which may be, and what each contributes to a context.

What is bound is the value as Django has it, in its canonical bytes
(`docs/spec/canonical-values-v1.md`), and never what a driver makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist, FieldError, ImproperlyConfigured
from django.db.models import (
    AutoField,
    BigAutoField,
    CharField,
    DateField,
    DateTimeField,
    Field,
    FilePathField,
    IntegerField,
    SmallAutoField,
    TextField,
    UUIDField,
)

from envelope_fields.crypto import canonical
from envelope_fields.crypto.canonical import CanonicalType
from envelope_fields.crypto.context import row_contexts

_TEXTS = (CharField, TextField, FilePathField)
_BINDABLE: tuple[tuple[Any, CanonicalType, type], ...] = (
    (IntegerField, canonical.INTEGER, int),
    (_TEXTS, canonical.TEXT, str),
    (UUIDField, canonical.UUID_BYTES, UUID),
    (DateField, canonical.DATE, date),
)
_VALUE = canonical.nullable("", canonical.TEXT)  # what is in front of a value that is not NULL
_MADE_BY_THE_DATABASE = (AutoField, BigAutoField, SmallAutoField)

Name = str | tuple[str, str]  # of a column; or what it was called, and the column that it is now
Names = tuple[Name, ...]


class NotBindable(NamedTuple):
    """Why values cannot be bound to a column, and the way out."""

    wrong: str
    hint: str


class BoundColumn:
    """A column that values are bound to.

    Args:
        field: the field that has it.
        name: what it is called in the context.

    Attributes:
        attname: the attribute that has its value.
    """

    def __init__(self, field: Any, name: str) -> None:
        self.field = field
        self.name = name
        self.attname: str = field.attname
        self._target = target = referred(field)
        self._type, self._plain = _type_of(target) or (canonical.TEXT, str)
        self._encode = self._type.encode
        # Another class may make something else of a value that has the type already.
        self._is_djangos = type(target).__module__.startswith("django.db.models.")

    def encoded(self, value: Any) -> bytes:
        """Return a value as a nullable part of a context.

        Raises:
            FieldError: there is none yet, or it is an expression: what it will be is not known.
            TypeError, ValueError, ValidationError: it is not a value of the column.
        """
        if type(value) is self._plain and self._is_djangos:
            return _VALUE + self._encode(value)
        return canonical.nullable(self._meant(value), self._type)

    def _meant(self, value: Any) -> Any:
        if value is None and not self.field.null:
            raise FieldError(f"{self.field} has no value yet, and values are bound to it.")
        if hasattr(value, "resolve_expression"):
            raise FieldError(
                f"{self.field} is an expression, and values are bound to what it is. Give it a "
                "plain value before the object is saved."
            )
        value = self._target.to_python(value.value if isinstance(value, Enum) else value)
        value = value.value if isinstance(value, Enum) else value
        if value is None or isinstance(value, self._plain):
            return value
        raise TypeError(
            f"{self.field}: values cannot be bound to what its to_python() returns, which is "
            f"{type(value).__name__} and not {self._plain.__name__}."
        )


class Binding:
    """What values of a field are bound to, at present or before: a label, and columns.

    Args:
        label: the label.
        columns: the columns, in their order.
        row_names: the attributes that a row is of; the values of a row come in this order.
    """

    def __init__(
        self, label: str, columns: Sequence[BoundColumn], row_names: Sequence[str]
    ) -> None:
        self._context = row_contexts(label, [(each.name, each.encoded) for each in columns])
        self._places = [row_names.index(each.attname) for each in columns]

    def context(self, row: Sequence[Any]) -> bytes:
        """Return the context of a row; errors as `BoundColumn.encoded` raises them."""
        return self._context([row[place] for place in self._places])


def as_names(given: Iterable[Any]) -> Names:
    """Return names as they are kept and written into migrations."""
    given = (given,) if isinstance(given, str) else given  # which a check reports
    return tuple(tuple(name) if isinstance(name, list) else name for name in given)


def names_in(names: Names) -> Iterator[tuple[str, str]]:
    """Yield for each entry what a column was called, and what it is called now."""
    for name in names:
        if isinstance(name, tuple) and len(name) == 2:
            yield str(name[0]), str(name[1])
        else:
            yield str(name), str(name)  # of what is no name, there is no column


def bound_columns(model: Any, names: Names) -> list[BoundColumn]:
    """Return the columns of a model that names mean.

    Raises:
        ImproperlyConfigured: values cannot be bound to one of them.
    """
    found = []
    for earlier, present in names_in(names):
        problem = not_bindable(model, present)
        if problem is not None:
            raise ImproperlyConfigured(f"{problem.wrong} {problem.hint}")
        field = model._meta.get_field(present)
        found.append(BoundColumn(field, field.attname if earlier == present else earlier))
    return found


def column_named(model: Any, name: str) -> Any:
    """Return the field of a model that a name or attname means; None if it has no column."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return None
    return field if getattr(field, "column", None) is not None else None


def referred(field: Any) -> Any:
    """Return the field whose values a foreign key has, or the field itself."""
    while field.remote_field is not None:
        field = field.target_field
    return field


def is_text(field: Any) -> bool:
    """Whether the values of a column are texts."""
    return isinstance(referred(field), _TEXTS)


def not_bindable(model: Any, name: str) -> NotBindable | None:
    """Return why values of a model's rows cannot be bound to a column; None if they can."""
    field = column_named(model, name)
    if field is None:
        return NotBindable(
            f"{model._meta.label} has no column {name!r} that values could be bound to.",
            "Name a field with a column of its own, such as the primary key or a foreign key.",
        )
    for rule, hint in _REFUSED:
        if rule(model, field):
            return NotBindable(f"Values cannot be bound to {field}.", hint)
    return None


def _type_of(field: Any) -> tuple[CanonicalType, type] | None:
    if isinstance(field, DateTimeField):
        return None
    for classes, canonical_type, plain in _BINDABLE:
        if isinstance(field, classes):
            return canonical_type, plain
    return None


def _is_encrypted(model: Any, field: Any) -> bool:
    return hasattr(field, "to_plaintext")


def _is_of_a_parent(model: Any, field: Any) -> bool:
    return field.model._meta.concrete_model is not model._meta.concrete_model


def _is_made_by_the_database(model: Any, field: Any) -> bool:
    return isinstance(field, _MADE_BY_THE_DATABASE) or bool(
        getattr(field, "generated", False) or field.has_db_default()
    )


def _is_made_while_saving(model: Any, field: Any) -> bool:
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return True
    kind: Any = type(field)
    return kind.pre_save not in (Field.pre_save, DateField.pre_save)


def _is_of_another_type(model: Any, field: Any) -> bool:
    return _type_of(referred(field)) is None


_REFUSED: tuple[tuple[Callable[[Any, Any], bool], str], ...] = (
    (_is_encrypted, "It is encrypted itself. Bind them to a plain column."),
    (
        _is_of_a_parent,
        "It is a column of a parent's table, which is written by statements of its own. Bind them "
        "to the link to the parent, or declare the encrypted field in the parent.",
    ),
    (
        _is_made_by_the_database,
        "The database makes its value, which is not known when a row is encrypted. For a key, use "
        "UUIDField(primary_key=True, default=uuid.uuid4); for others, use default=.",
    ),
    (
        _is_of_another_type,
        "What is written and what comes back from a database are not always the same for its type. "
        "Bind them to an integer, a text, a UUID, a date, or a foreign key to one of these.",
    ),
    (
        _is_made_while_saving,
        "Its value is made while the row is saved, which may be after the value was encrypted. Use "
        "default=, or assign it before.",
    ),
)
