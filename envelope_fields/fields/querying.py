"""What queries may ask of an encrypted field: its column, and whether it is NULL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from django.db.models import Field
from django.db.models.expressions import Col

from envelope_fields.fields.columns import EncryptedCol
from envelope_fields.fields.errors import refuse
from envelope_fields.fields.lookups import refused_lookup, refused_transform

if TYPE_CHECKING:
    _Field = Field[Any, Any]
else:
    _Field = object  # the field class comes after the mixin


class QueryingMixin(_Field):
    """Refuses, before SQL is sent, whatever would compute on envelopes."""

    def get_col(self, alias: str, output_field: Any = None) -> Col:
        # Never one that is kept: each query says of its own whether it loads objects by it.
        return EncryptedCol(alias, self, output_field)

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        return refused_lookup(self, lookup_name)

    def get_transform(self, lookup_name: str) -> Any:
        return refused_transform(self, lookup_name)

    def slice_expression(self, expression: Any, start: int, length: int | None) -> NoReturn:
        raise refuse(self, "the database cannot cut its values")
