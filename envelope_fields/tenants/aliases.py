"""Aliases made of the columns by which a row says whose it is: `clinic/{clinic_id}`.

The columns are its own, or those of rows that it refers to. No two tenants ever have the same
alias, whatever their columns hold. Each column has a whole part between slashes to itself; a value
is written there so that it holds no slash and can be recovered from what is written. Nor are two
aliases the same to a database that compares without case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from django.core.exceptions import (
    FieldDoesNotExist,
    FieldError,
    ObjectDoesNotExist,
    ValidationError,
)
from django.db.models import CharField, Field, ForeignKey, IntegerField, Model, TextField, UUIDField
from django.db.models.constants import LOOKUP_SEP

ALIAS_LENGTH = 200  # of the column

# Whose values are written in one way only; a column of decimals can hold 1 and 1.0.
_KINDS = (IntegerField, CharField, TextField, UUIDField)

_COLUMN = re.compile(r"\{([A-Za-z]\w*)\}", re.ASCII)
_WORDS = re.compile(r"[A-Za-z0-9_.:@-]+", re.ASCII)
_KEPT = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_.-")


@dataclass(frozen=True)
class AliasTemplate:
    """An alias whose parts are words, or names of columns in braces.

    Args:
        text: as in `clinic/{clinic_id}` or `clinic/{ward__clinic_id}/research`.

    Raises:
        ValueError: it is no such text.
    """

    text: str

    def __post_init__(self) -> None:
        first, *others = self.text.split("/")
        parts_are_sound = all(map(_is_sound, (first, *others)))
        if not parts_are_sound or not first[0].isalnum() or not self.names:
            raise ValueError(
                f"{self.text!r} is not a template for the aliases of keys. Write words first, then "
                "a slash and the name of a field in braces, as in 'clinic/{clinic_id}'; a name in "
                "braces stands alone between slashes. Words have letters, digits and _ . : @ -"
            )

    @property
    def parts(self) -> list[str]:
        """The words, and the names in their braces."""
        return self.text.split("/")

    @property
    def names(self) -> list[str]:
        """What stands in braces."""
        return [column[1] for column in map(_COLUMN.fullmatch, self.parts) if column]

    def matches(self, alias: str) -> bool:
        """Whether this is the alias for some values, in any case of its letters."""
        parts, given = self.parts, alias.split("/")
        return len(parts) == len(given) and all(
            bool(value) if _COLUMN.fullmatch(part) else part.lower() == value.lower()
            for part, value in zip(parts, given, strict=True)
        )

    def alias(self, values: Mapping[str, Any]) -> str:
        """Return the alias for these values, by name.

        Raises:
            TypeError: a value is missing, or is no integer, text or UUID.
            ValueError: a value is empty or the alias too long.
        """
        alias = "/".join(
            _COLUMN.sub(lambda column: _written(column[1], values), part) for part in self.parts
        )
        if len(alias) > ALIAS_LENGTH:
            raise ValueError(
                f"its alias by {self.text!r} would be longer than {ALIAS_LENGTH} characters. Use a "
                "shorter column, such as the tenant's primary key"
            )
        return alias


def _is_sound(part: str) -> bool:
    return bool(_COLUMN.fullmatch(part) or _WORDS.fullmatch(part))


def _written(name: str, values: Mapping[str, Any]) -> str:
    text = _text(name, values.get(name))
    if not text:
        raise ValueError(f"{name} is empty, and names no tenant")
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} is text that UTF-8 cannot encode") from None
    return "".join(chr(byte) if byte in _KEPT else f":{byte:02x}" for byte in encoded)


def _text(name: str, value: Any) -> str:
    # Of enumerations the value, which is what the database has, and not the name.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    if isinstance(value, UUID):
        return str(value)
    what = "empty" if value is None else type(value).__name__
    raise TypeError(f"{name} is {what}, and only integers, text and UUIDs name a tenant")


def tenant_value(instance: Model, path: str) -> Any:
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
        field = _column(type(row), name)
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
        field = _column(model, relation)
        if not isinstance(field, ForeignKey):
            raise FieldError(f"{field} is not a foreign key, and {path} goes on from it.")
        model = field.remote_field.model
    field = _column(model, name)
    while isinstance(field, ForeignKey):
        field = field.target_field
    if hasattr(field, "to_plaintext"):
        raise FieldError(f"{field} is encrypted, and aliases of keys are stored in clear.")
    if not isinstance(field, _KINDS):
        raise FieldError(f"{field} holds neither integers, nor text, nor UUIDs.")
    return field


def _column(model: type[Model], name: str) -> Any:
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
