"""The column of a blind index in a query, and the names that other queries have for it."""

from typing import Any

from django.db.models.expressions import Col, Ref


class IndexCol(Col):
    """The column of an index in a query: of the one that is read when SQL is made."""

    target: Any
    search_key: str | None = None  # of the scope that is looked in

    def read(self, using: str) -> Any:
        """Return the index whose column it is now."""
        return self.target.read(using, self.search_key or self.target.only_alias)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return Col(self.alias, self.read(connection.alias)).as_sql(compiler, connection)

    def relabeled_clone(self, relabels: Any) -> Any:
        clone = super().relabeled_clone(relabels)
        clone.search_key = self.search_key
        return clone


def source_of(column: Any) -> Any:
    """Return the column of an index that a query has by itself, or by the name of one inside it.

    Django makes a query inside another one for windows and aggregates.
    """
    return column.get_source_expressions()[0] if isinstance(column, Ref) else column


def is_selected(expression: Any) -> bool:
    """Whether an expression is the column of an index that a query inside selects."""
    return isinstance(expression, Ref) and isinstance(source_of(expression), IndexCol)
