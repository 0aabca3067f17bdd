"""Lookups on encrypted fields, by their blind indexes: equality of normal forms.

A lookup is made with a value, and keeps its normal form; the MAC is made when SQL is, for the index
that is read by then. What it compares with in the database has to be an index, too: of the same
field, or one that shares the name of this one.
"""

from collections.abc import Sequence
from copy import copy, deepcopy
from typing import Any, NoReturn

from django.core.exceptions import EmptyResultSet, FieldError
from django.db.models import Subquery, Value
from django.db.models.expressions import Col, ExpressionWrapper, Ref, ResolvedOuterRef
from django.db.models.lookups import Lookup
from django.db.models.sql import Query

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.fields.columns import EncryptedCol
from envelope_fields.fields.index import macs
from envelope_fields.fields.index.terms import Term, term_looked_for
from envelope_fields.fields.lookups import IndexedPart
from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.fields.statement_parts import as_parameter


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


class IndexLookup(Lookup):
    """Looks for rows by an index."""

    index: Any  # each has subclasses of its own
    folds_case = False  # whether the index that is looked in has to
    prepare_rhs = False
    is_of_index = True
    _rhs: Any = None

    def __init__(self, lhs: Any, rhs: Any) -> None:
        prepared = Unencrypted(rhs, None)
        del rhs  # error reports show variables
        self.bilateral_transforms: list[Any] = []
        self.lhs = self._column(lhs)
        self.rhs = self._looked_for(prepared)
        first = self._rhs
        if isinstance(first, tuple):
            first = first[0] if first else None
        self.lhs.search_key = first.alias if type(first) is Term else None
        # Django kept what it was called with.
        self._constructor_args: Any = ((self.lhs, self.rhs), {})
        if self.rhs is None and self.index.part_path:
            names = " ".join(self.index.part_path)
            raise FieldError(f"{self.index}: nothing is looked for in {names}. Look for a value.")

    def _column(self, lhs: Any) -> Any:
        expression = lhs.column if isinstance(lhs, IndexedPart) else lhs
        if isinstance(expression, Col):
            return IndexCol(expression.alias, self.index)
        raise FieldError(
            f"{self.index}: the column is looked up, and not what {type(lhs).__name__}() makes of "
            "it."
        )

    def _looked_for(self, prepared: Unencrypted) -> Any:
        """Return the term of a value; what stands for none, or is in the database, as it is."""
        if prepared.value is None or hasattr(prepared.value, "resolve_expression"):
            return prepared.value
        return term_looked_for(self.index, prepared)

    # Django sets it to what an outer query makes of a reference.
    @property
    def rhs(self) -> Any:
        return self._rhs

    @rhs.setter
    def rhs(self, value: Any) -> None:
        prepared = Unencrypted(value, None)
        del value  # error reports show variables, and an expression shows what it is made of
        is_expression = hasattr(prepared.value, "resolve_expression")
        self._rhs = self._comparable(prepared) if is_expression else prepared.value

    def _comparable(self, prepared: Unencrypted) -> Any:
        """Return what in the database is compared with: an index in the place of its field."""
        kind = type(prepared.value)
        if issubclass(kind, IndexCol | ResolvedOuterRef) or is_selected(prepared.value):
            return prepared.value
        if kind is Value:
            return self._looked_for(Unencrypted(prepared.value.value, None))
        if issubclass(kind, EncryptedCol):
            return IndexCol(prepared.value.alias, self._partner(prepared.value))
        if kind is ExpressionWrapper or issubclass(kind, Subquery):
            prepared = Unencrypted(prepared.value.get_source_expressions()[0], None)
        if isinstance(prepared.value, Query):
            return self._selecting_index(prepared.value)
        raise self._not_comparable(type(prepared.value), getattr(prepared.value, "target", None))

    def _selecting_index(self, query: Query) -> Query:
        selected = query.select[0] if len(query.select) == 1 else None
        is_one = isinstance(selected, EncryptedCol | IndexCol) and not query.annotation_select
        if not is_one or query.combinator:
            raise self._not_comparable(type(query))
        found = query.clone()
        found.select = (self._comparable(Unencrypted(selected, None)),)
        return found

    def _partner(self, column: EncryptedCol) -> Any:
        """Return the index of a column whose values can be compared with those of this one."""
        for index in column.target.values.indexes:
            if index.covers_value and index.is_comparable_with(self.index):
                return index
        raise self._not_comparable(type(column), column.target)

    def _not_comparable(self, kind: type, field: Any = None) -> FieldError:
        other = field or f"the result of {kind.__name__}()"
        return FieldError(
            f"{self.index.sources[0].field} cannot be compared with {other}: in the database, an "
            "encrypted field is compared with those whose indexes share a name. Write the same "
            "shared= in both."
        )

    def __copy__(self) -> Any:
        copied = type(self).__new__(type(self), self.lhs, None)
        vars(copied).update(vars(self))
        return copied

    def __deepcopy__(self, memo: Any) -> Any:
        copied = copy(self)
        copied.lhs, copied.rhs = deepcopy(self.lhs, memo), deepcopy(self.rhs, memo)
        return copied

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"A query that looks for a value of {self.index.sources[0].field} is not pickled: it "
            "holds the value. Pickle what it finds, a list of objects or their primary keys."
        )

    def get_group_by_cols(self) -> list[Any]:
        return [self.lhs, *([self.rhs] if isinstance(self.rhs, Col) else [])]

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if not compiler.query.alias_cols:
            raise FieldError(
                f"{self.index}: the condition of a constraint or of an index cannot ask for an "
                "encrypted value, since it becomes a part of the schema."
            )
        if isinstance(self.rhs, ResolvedOuterRef):
            compiler.compile(self.rhs)  # which says that there is no outer query
        if isinstance(self.rhs, Col | Ref | Query):
            return self._in_database(compiler, connection)
        index, terms = self._read(connection.alias)
        made = self._made(index, terms, compiler, connection)
        lhs = self._selected(self.lhs, index, connection.alias)
        return self._sql(lhs, *self._compared_with(made), compiler)

    def _selected(self, column: Any, index: Any, using: str) -> Any:
        """Return the column of an index; where a query inside selects it, what that calls it."""
        if not isinstance(column, Ref):
            return Col(column.alias, index)
        if source_of(column).read(using) != index:
            raise IndexNotReady(
                f"{index} cannot be compared beside a window or an aggregate, while it is not "
                "looked in alone. Bring the indexes that share its name to reading."
            )
        return column

    def _read(self, using: str) -> tuple[Any, list[Term]]:
        """Return the index that is read now, and what to look for in that."""
        index, terms = self.index, list(self.rhs) if isinstance(self.rhs, tuple) else [self.rhs]
        if index.replaced is not None:
            alias = source_of(self.lhs).search_key or index.only_alias
            while index.replaced is not None and not macs.is_reading(index, alias, using):
                index, terms = index.replaced, [term.replaced for term in terms]
                alias = terms[0].alias if terms else index.only_alias
        if self.folds_case and not index.normal.folds_case:
            raise IndexNotReady(
                f"{index} is looked in until {self.index} is reading, and does not fold case, as "
                "`iexact` asks."
            )
        return index, terms

    def _in_database(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """Return SQL that compares two columns, each of an index that may be asked."""
        using = connection.alias
        other = self.rhs.select[0] if isinstance(self.rhs, Query) else self.rhs
        mine, theirs = self.index.read_beside(source_of(other).target, using)
        compared, column = copy(self), self._selected(other, theirs, using)
        compared._rhs = column
        if isinstance(self.rhs, Query):
            compared._rhs = self.rhs.clone()
            compared._rhs.select = (column,)
        lhs = self._selected(self.lhs, mine, using)
        return self._sql(lhs, *compared._compared(compiler), compiler)

    def _sql(
        self, lhs: Any, operator: str, sql: str, params: Sequence[Any], compiler: Any
    ) -> tuple[str, Any]:
        column, _ = compiler.compile(lhs)
        # In the place of `unknown`, so that NOT finds rows whose value is in no index.
        compared = f"{column} {operator} {sql} AND {column} IS NOT NULL"
        if operator == "=" and not isinstance(self.rhs, Term):
            return f"({compared} AND {sql} IS NOT NULL)", (*params, *params)
        return f"({compared})", tuple(params)

    def _compared(self, compiler: Any) -> tuple[str, str, Sequence[Any]]:
        """Return the operator, and what stands on its right in the database."""
        raise NotImplementedError

    def _compared_with(self, made: Sequence[Any]) -> tuple[str, str, Sequence[Any]]:
        """Return the operator, and MACs on its right: SQL and parameters for each are given."""
        raise NotImplementedError

    def _made(self, index: Any, terms: Sequence[Term], compiler: Any, connection: Any) -> list[Any]:
        """Return SQL and parameters for each of the terms, of which there is one."""
        using = connection.alias
        values = [
            macs.value_looked_for(index, term.alias, term, using) for term in terms if term.forms
        ]
        found = [value for value in values if value is not None]
        if not found:
            raise EmptyResultSet
        return [as_parameter(value, compiler) for value in found]

    def _subquery(self, compiler: Any) -> tuple[str, Any]:
        sql, params = compiler.compile(self.rhs)
        return (sql if sql.startswith("(") else f"({sql})"), params
