"""What a query selects: a column as it is, or what is computed, and what makes values of it."""

from typing import Any

from django.db.models import ExpressionWrapper, Subquery
from django.db.models.expressions import Col, Ref
from django.db.models.sql import Query


def is_column(expression: Any) -> bool:
    """Whether an expression gives back a column as it is, be it through a subquery."""
    return column_in(expression) is not None


def column_in(expression: Any) -> Any:
    """Return the column that an expression gives back as it is, or None."""
    if isinstance(expression, Ref):
        return column_in(expression.get_source_expressions()[0])
    if isinstance(expression, Subquery):
        return column_in(expression.query)
    if type(expression) is ExpressionWrapper:
        inner = expression.expression
        return column_in(inner) if isinstance(inner, Query) else None
    if isinstance(expression, Query):
        selected = [*expression.select, *expression.annotation_select.values()]
        return column_in(selected[0]) if len(selected) == 1 else None
    return expression if isinstance(expression, Col) else None


def converters_of(column: Any, connection: Any) -> list[Any]:
    """Return what makes values of what a database gives for a column, its own converters first."""
    return [
        *connection.ops.get_db_converters(column),
        *column.get_db_converters(connection),
    ]
