"""The columns by which a row says whose it is: its own, or those of rows that it refers to."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.core.exceptions import (
    FieldDoesNotExist,
    FieldError,
    ObjectDoesNotExist,
    ValidationError,
)
from django.db.models import CharField, Field, ForeignKey, IntegerField, Model, TextField, UUIDField
from django.db.models.constants import LOOKUP_SEP

# Whose values are written in one way only; a column of decimals can hold 1 and 1.0.
_KINDS = (IntegerField, CharField, TextField, UUIDField)


def value(instance: Model, path: str) -> Any:
    """Return what is in a column, as the column has it: a number that is given as text is a number.

    Args:
        instance: the row; what it refers to is loaded if need be.
        path: as in `clinic_id` or `ward__clinic_id`.

    Raises:
        FieldError: the path leads to no such column, or something on it is not set.
    """
    tenant_column(type(instance), path)
    *relations, name = path.split(LOOKUP_SEP)
    row: Any = instance
    try:
        for relation in relations:
            row = getattr(row, relation)
        field = column(type(row), name)
        return field.to_python(getattr(row, field.attname))
    except (AttributeError, ObjectDoesNotExist):  # on the way there is NULL, or nothing
        raise FieldError(f"{instance._meta.label}: {path} leads nowhere.") from None
    except ValidationError:
        raise FieldError(f"{instance._meta.label}: {path} is not a value of its field.") from None


@cache
def tenant_column(model: type[Model], path: str) -> Field[Any, Any]:
    """Return the column that a path leads to; for a foreign key, the one that it refers to.

    Raises:
        FieldError: there is none, or none that names a tenant: the message says why.
    """
    *relations, name = path.split(LOOKUP_SEP)
    for relation in relations:
        field = column(model, relation)
        if not isinstance(field, ForeignKey):
            raise FieldError(f"{field} is not a foreign key, and {path} goes on from it.")
        model = field.remote_field.model
    field = column(model, name)
    while isinstance(field, ForeignKey):
        field = field.target_field
    if hasattr(field, "to_plaintext"):
        raise FieldError(f"{field} is encrypted, and aliases of keys are stored in clear.")
    if not isinstance(field, _KINDS):
        raise FieldError(f"{field} holds neither integers, nor text, nor UUIDs.")
    return field


def column(model: type[Model], name: str) -> Any:
    """Return the field of a model that has this name or attribute, and a column.

    Raises:
        FieldError: there is none.
    """
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if getattr(field, "column", None) is None:
        raise FieldError(f"{model._meta.label} has no column {name}.")
    return field
