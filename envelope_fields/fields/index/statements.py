"""Indexes in the statements that write values: each is made of what the same statement writes.

An INSERT has the rows, and their indexes are made one by one. An UPDATE has what is written of each
column, be it a value or the CASE of a `bulk_update`; the index is an expression that looks there
when SQL is made, and is added where the statement lacks it.
"""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import FieldError
from django.db.models import Case, Expression, When
from django.db.models.constants import OnConflict
from django.db.models.functions import Cast
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.models.sql.compiler import SQLInsertCompiler

from envelope_fields.fields import defaults
from envelope_fields.fields.index.rows import (
    IndexedRow,
    StoredIndex,
    brought_with,
    index_of_row,
    index_of_values,
    refused,
)
from envelope_fields.fields.sealed import MISSING
from envelope_fields.fields.statement_parts import (
    HAS_PLACEHOLDER_SQL,
    PartOfStatement,
    written_otherwise,
)
from envelope_fields.fields.written import (
    OwnColumn,
    case_like,
    inside_cast,
    not_computed,
    resolved,
    stays,
)

# What may be given for an index that the statement makes anew: what was loaded.
HELD = (StoredIndex, Case, Cast)

_KEPT: Any = object()  # the column stays as it is


class WrittenValues(tuple[Any, ...]):
    """What an UPDATE writes of each value of an index: an error report shows variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class FromStatement(PartOfStatement, Expression):
    """The index of what a statement writes."""

    def __init__(self, index: Any, row: IndexedRow) -> None:
        super().__init__(output_field=index)
        self.index = index
        self.row = row

    def __repr__(self) -> str:
        return f"<FromStatement: {self.index}>"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if isinstance(compiler, SQLInsertCompiler):  # of a raw save, or before its values
            look_at(self.index, self, compiler.query, connection.alias)
            made = index_of_row(self.index, self.row, connection.alias)
            return compiled(made, self.index, compiler, connection)
        if not isinstance(compiler.query, UpdateQuery):
            raise written_otherwise(self)
        values = self._written(compiler.query, connection)
        if values is None:
            return _column(self.index, connection)
        brought = brought_with(self.index, self.row, values)
        if brought is not None:
            return compiled(brought, self.index, compiler, connection)
        return _compiled_of(values, self.index, compiler, connection)

    def _written(self, query: Any, connection: Any) -> WrittenValues | None:
        """Return what an UPDATE writes of each value; None if all of them stay as they are."""
        values = _written_of(self.index, query)
        if not any(value is MISSING for value in values):
            return WrittenValues(resolved(value, query) for value in values)
        there = WrittenValues(value for value in values if value is not MISSING)
        if there and not all(stays(value, connection) for value in there):
            names = " and ".join(self.index.source_names)
            raise FieldError(f"{self.index} is made of {names}: write them in one statement.")
        if not there and not self._lacks_values():
            raise refused(self.index)
        return None

    def _lacks_values(self) -> bool:
        """Whether an object was loaded without the values, and is saved without them."""
        return self.row.instance is not None and not any(
            source.field.attname in vars(self.row.instance) for source in self.index.sources
        )


def _written_of(index: Any, query: Any) -> WrittenValues:
    """Return what an UPDATE writes of each value of an index, or that it is missing."""
    written = {field: value for field, _, value in query.values}
    return WrittenValues(written.get(source.field, MISSING) for source in index.sources)


class IndexBytes(Expression):
    """The bytes of an index, in a CASE."""

    def __init__(self, index: Any, content: bytes | None) -> None:
        super().__init__(output_field=index)
        self.index = index
        self.content = content

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return compiled(self.content, self.index, compiler, connection)


def _column(index: Any, connection: Any) -> tuple[str, Any]:
    return str(connection.ops.quote_name(index.column)), ()


def compiled(content: bytes | None, index: Any, compiler: Any, connection: Any) -> tuple[str, Any]:
    """Return SQL for bytes in the column of an index."""
    if content is None:
        return "NULL", ()
    if HAS_PLACEHOLDER_SQL:
        sql, params = index.get_placeholder_sql(content, compiler, connection)
        return sql, tuple(params)
    return index.get_placeholder(content, compiler, connection), (content,)


def _compiled_of(
    values: Sequence[Any], index: Any, compiler: Any, connection: Any
) -> tuple[str, Any]:
    made = _made(index, values, connection)
    if made is _KEPT:
        return _column(index, connection)
    if isinstance(made, Expression):
        if connection.features.requires_casted_case_in_updates:
            made = Cast(made, output_field=index)
        compiled_case: tuple[str, Any] = compiler.compile(made)
        return compiled_case
    return compiled(made, index, compiler, connection)


def _made(index: Any, values: Sequence[Any], connection: Any) -> Any:
    """Return the index of what is written: bytes, None, a CASE, or that it is kept."""
    kinds = set(map(type, values))
    if kinds == {Cast}:
        return _made(index, WrittenValues(map(inside_cast, values)), connection)
    if kinds == {Case}:
        return _made_case(index, values, connection)
    if kinds & {Case, Cast, When}:
        raise not_computed(index.sources[0].field, values[0])
    if all(stays(value, connection) for value in values):
        return _KEPT
    if all(defaults.suffices(source.field, connection) for source in index.sources):
        return None  # a migration writes them into an empty table
    return index_of_values(index, values, connection.alias)


def _made_case(index: Any, cases: Sequence[Any], connection: Any) -> Any:
    """Return the CASE of an index: its conditions are those of the CASE of each value."""
    if any(_conditions(each) != _conditions(cases[0]) for each in cases[1:]):
        raise not_computed(index.sources[0].field, cases[0])
    results = [
        _branch(index, WrittenValues(each.cases[place].result for each in cases), connection)
        for place in range(len(cases[0].cases))
    ]
    default = _branch(index, WrittenValues(each.default for each in cases), connection)
    return case_like(cases[0], results, default, index)


def _conditions(case: Any) -> list[Any]:
    return [when.condition for when in case.cases]


def _branch(index: Any, results: Sequence[Any], connection: Any) -> Any:
    made = _made(index, results, connection)
    if made is _KEPT:
        return OwnColumn(index)
    return made if isinstance(made, Expression) else IndexBytes(index, made)


# -- Statements that lack an index -----------------------------------------------------------------


def complete(index: Any, query: Any) -> None:
    """Have an UPDATE that writes a value write its index, too.

    Django asks each column for its placeholder while it goes through what is written. Its own
    INSERT writes all columns.

    Raises:
        FieldError: it is an INSERT of another package, which would leave the index out.
    """
    if isinstance(query, UpdateQuery):
        written: list[Any] = vars(query)["values"]
        if not any(entry[0] == index for entry in written):
            written.append((index, None, IndexedRow(None)))
    elif isinstance(query, InsertQuery) and index not in query.fields:
        raise FieldError(
            f"{index} would be empty in the rows that this inserts: {type(query).__name__} leaves "
            f"out what it is given no value for. Give it {index.name}=None, or use Django's "
            "create() and bulk_create()."
        )


def look_at(index: Any, value: Any, query: Any, using: str) -> None:
    """Look at each value that a statement writes of an index.

    `FieldError` if it would write it by itself, or not all that it is made of.
    """
    is_insert = query.__class__ is InsertQuery
    if is_insert and query.on_conflict is not OnConflict.UPDATE:
        return  # it only inserts rows, and has the index of each
    if isinstance(query, UpdateQuery) and value is None:
        raise refused(index)
    if getattr(query, "on_conflict", None) is OnConflict.UPDATE:
        _complete_upsert(index, query, using)


def _complete_upsert(index: Any, query: Any, using: str) -> None:
    """Have an upsert find rows by indexes where it names the values, and write both or none."""
    sources = [source.field for source in index.sources]
    updated = [field for field in sources if field in query.update_fields]
    if index in query.update_fields and not updated:
        raise refused(index)
    if updated and len(updated) < len(sources):
        names = " and ".join(index.source_names)
        raise FieldError(f"{index} is made of {names}: name them all in update_fields.")
    if updated and index not in query.update_fields:
        query.update_fields = [*query.update_fields, index]
    query.unique_fields = index.columns_in_conflict(query.unique_fields, using)
