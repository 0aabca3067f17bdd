"""The column of an encrypted field in a query: it can be selected, and that is all."""

from __future__ import annotations

from typing import Any

from django.db.models import Subquery
from django.db.models.expressions import Col, Ref
from django.db.models.sql import Query

from envelope_fields.fields.errors import refuse
from envelope_fields.keyring import here


def is_column(expression: Any) -> bool:
    """Whether an expression gives back a column as it is, be it through a subquery."""
    if isinstance(expression, Ref):
        return is_column(expression.get_source_expressions()[0])
    if isinstance(expression, Subquery):
        return is_column(expression.query)
    if isinstance(expression, Query):
        selected = [*expression.select, *expression.annotation_select.values()]
        return len(selected) == 1 and is_column(selected[0])
    return isinstance(expression, Col)


class EncryptedCol(Col):
    """A reference to the column, read by the field's reader."""

    target: Any

    def get_db_converters(self, connection: Any) -> list[Any]:
        here.came = True  # once a query: that it is for a key takes too long to say of each value
        if self.output_field == self.target:
            return [self.target.converter]
        return super().get_db_converters(connection)

    # Expressions ask their sources for this when they have no output field of their own (Max,
    # Upper, Coalesce): while SQL is made, so before a database could answer something.
    @property
    def _output_field_or_none(self) -> Any:
        raise refuse(self.target, "the database cannot compute on its values")
