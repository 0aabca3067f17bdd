"""Columns that values can be bound to, and why they cannot be to others."""

from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from envelope_fields.crypto import canonical
from envelope_fields.crypto.canonical import CanonicalType

_TEXTS = (models.CharField, models.TextField, models.FilePathField)
_BINDABLE: tuple[tuple[Any, CanonicalType, type], ...] = (
    (models.IntegerField, canonical.INTEGER, int),
    (_TEXTS, canonical.TEXT, str),
    (models.UUIDField, canonical.UUID_BYTES, UUID),
    (models.DateField, canonical.DATE, date),
)
_MADE_BY_THE_DATABASE = (models.AutoField, models.BigAutoField, models.SmallAutoField)


class NotBindable(NamedTuple):
    """Why values cannot be bound to a column, and the way out."""

    wrong: str
    hint: str


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


def type_of(field: Any) -> tuple[CanonicalType, type] | None:
    """Return how values of a column are encoded, and their type; None if it has no such type."""
    if isinstance(field, models.DateTimeField):
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
    return kind.pre_save not in (models.Field.pre_save, models.DateField.pre_save)


def _is_of_another_type(model: Any, field: Any) -> bool:
    return type_of(referred(field)) is None


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
