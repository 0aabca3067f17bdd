"""The column of an encrypted field, as a field of its own: bytes, whatever the values are.

Forms, serializers and range checks ask a field for the type of its values, and a database for that
of its column. Both ask `get_internal_type()`, and so two fields answer (ADR 4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field

from envelope_fields.fields.defaults import is_historical
from envelope_fields.fields.statement_parts import WithColumnsBeside
from envelope_fields.fields.types import FieldBase


def _by_values(name: str) -> Callable[..., Any]:
    """Return a method that has the encrypted field answer."""

    def method(self: BinaryColumn, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.values, name)(*args, **kwargs)

    return method


class BinaryColumn(models.BinaryField):  # type: ignore[type-arg]
    """What a database has of an encrypted field.

    Of expressions that select or write the column, this is the output field: it has the name and
    the place of the encrypted field, is equal to it, and has that do all that is about values.

    Attributes:
        values: the encrypted field.
    """

    values: Any

    def __init__(self, values: Field[Any, Any]) -> None:
        # Nothing is declared anew: two fields of a model are equal if they were declared as one.
        vars(self).update(vars(values))
        self.values = values
        self.binary = self

    def __reduce__(self) -> Any:
        return _column_of, (self.values,)

    get_col = _by_values("get_col")
    get_lookup = _by_values("get_lookup")
    get_transform = _by_values("get_transform")
    slice_expression = _by_values("slice_expression")
    from_db_value = _by_values("from_db_value")
    get_prep_value = _by_values("get_prep_value")
    get_db_prep_value = _by_values("get_db_prep_value")
    get_placeholder = _by_values("get_placeholder")
    get_placeholder_sql = _by_values("get_placeholder_sql")  # the same, from Django 6.1 on
    value_to_string = _by_values("value_to_string")

    def get_db_prep_save(self, *args: Any, **kwargs: Any) -> Any:
        # Asked by an expression of a statement that was looked at.
        written = self.values.get_db_prep_save(*args, **kwargs)
        return written.written if isinstance(written, WithColumnsBeside) else written


def _column_of(values: Any) -> Any:
    return values.binary


class _ColumnOfAnyField:
    """The column of a field that is of no model yet, or of a copy: made when it is asked for."""

    def __get__(self, field: Any, owner: Any = None) -> Any:
        return self if field is None else BinaryColumn(field)


class BinaryMixin(FieldBase):
    """Has a field stored as bytes, and answer with the type of its values elsewhere."""

    # A field of a model keeps its own, and is asked for it without a call.
    binary: Any = _ColumnOfAnyField()

    def get_internal_type(self) -> str:
        # Schema editors ask fields of migrations, or such that are of no model yet; what they ask
        # is about the column: how it is cast, and what a new one holds.
        model = vars(self).get("model")
        if model is None or is_historical(model):
            return str(self.binary.get_internal_type())
        return super().get_internal_type()

    def db_type(self, connection: BaseDatabaseWrapper) -> Any:
        return self.binary.db_type(connection)

    def rel_db_type(self, connection: BaseDatabaseWrapper) -> Any:
        return self.binary.rel_db_type(connection)

    def cast_db_type(self, connection: BaseDatabaseWrapper) -> Any:
        return self.binary.cast_db_type(connection)

    def db_check(self, connection: BaseDatabaseWrapper) -> Any:
        return self.binary.db_check(connection)

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        # Not those of the column: a subclass may have a db_type of its own.
        return {"type": self.db_type(connection), "check": self.db_check(connection)}
