"""The column of an encrypted field, as a field of its own: bytes, whatever the values are.

Forms, serializers and range checks ask a field for the type of its values, and a database for that
of its column. Both ask `get_internal_type()`, and so two fields answer (ADR 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field
from django.db.models.expressions import Col

from envelope_fields.fields.placeholder import is_historical

if TYPE_CHECKING:
    _Field = Field[Any, Any]
else:
    _Field = object  # the field class comes after the mixin

CACHED_AS = "_binary"  # in an encrypted field: its column


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
        vars(self).pop(CACHED_AS, None)
        self.values = values

    @property
    def binary(self) -> BinaryColumn:
        return self

    def __reduce__(self) -> Any:
        return _column_of, (self.values,)

    def get_col(self, alias: str, output_field: Any = None) -> Col:
        column: Col = self.values.get_col(alias, output_field)
        return column

    def get_lookup(self, lookup_name: str) -> Any:
        return self.values.get_lookup(lookup_name)

    def get_transform(self, name: str) -> Any:
        return self.values.get_transform(name)

    def slice_expression(self, expression: Any, start: int, length: int | None) -> Any:
        return self.values.slice_expression(expression, start, length)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return self.values.from_db_value(value, expression, connection)

    def get_prep_value(self, value: Any) -> Any:
        return self.values.get_prep_value(value)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        return self.values.get_db_prep_value(value, connection, prepared)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        return self.values.get_db_prep_save(value, connection)

    def get_placeholder(self, value: Any, compiler: Any, connection: BaseDatabaseWrapper) -> Any:
        return self.values.get_placeholder(value, compiler, connection)

    def get_placeholder_sql(  # the same for Django 6.1 and later
        self, value: Any, compiler: Any, connection: BaseDatabaseWrapper
    ) -> Any:
        return self.values.get_placeholder_sql(value, compiler, connection)

    def value_to_string(self, obj: models.Model) -> Any:
        return self.values.value_to_string(obj)


def _column_of(values: Any) -> Any:
    return values.binary


class BinaryMixin(_Field):
    """Has a field stored as bytes, and answer with the type of its values elsewhere."""

    @property
    def binary(self) -> BinaryColumn:
        """The column of this field."""
        kept: BinaryColumn | None = vars(self).get(CACHED_AS)
        if kept is not None and kept.values is self:  # not that of a field of which this is a copy
            return kept
        made = BinaryColumn(self)
        if hasattr(self, "model"):
            vars(self)[CACHED_AS] = made
        return made

    def get_internal_type(self) -> str:
        # Schema editors ask fields of migrations, or such that are of no model yet; what they ask
        # is about the column: how it is cast, and what a new one holds.
        model = vars(self).get("model")
        if model is None or is_historical(model):
            return self.binary.get_internal_type()
        return super().get_internal_type()

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return self.binary.db_type(connection)

    def rel_db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return self.binary.rel_db_type(connection)

    def cast_db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return self.binary.cast_db_type(connection)

    def db_check(self, connection: BaseDatabaseWrapper) -> Any:
        return self.binary.db_check(connection)

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        # Not those of the column: a subclass may have a db_type of its own.
        return {"type": self.db_type(connection), "check": self.db_check(connection)}
