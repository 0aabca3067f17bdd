"""The column of an encrypted field in a query: it can be selected, and asked whether it is NULL.

Everything else would compare or compute on envelopes. What is looked up is refused in `lookups`;
the rest when SQL is made, since only then all parts of a query are known, by looking at what stands
around the column.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from django.core.exceptions import FieldError
from django.db import router
from django.db.models import Count, Exists, ExpressionWrapper, F, Q, QuerySet, Subquery
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import Col, OrderBy, Ref
from django.db.models.lookups import IsNull, Lookup
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler, SQLInsertCompiler

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.binary import BinaryColumn
from envelope_fields.fields.conversion import call_sites
from envelope_fields.fields.errors import refuse, without_row
from envelope_fields.keyring import this_thread

SEALED_AS = "envelope_fields_sealed_as"  # in a query: the class of the sealed values that it loads
loads_as: ContextVar[Any] = ContextVar("loads_as", default=None)  # the same, of other queries
ENVELOPES = "envelope_fields_envelopes"  # in a query: that it reads no other column in their place
OPENED = "envelope_fields_opened"  # in a query: where the fields are that it opens when it loads


def of_envelopes(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return rows with what is in the encrypted columns, whatever is read in the place of that."""
    found = rows.all()
    vars(found.query)[ENVELOPES] = True
    return found


def orders_nothing(order: Any, query: Query) -> bool:
    """Whether a name or expression would order a query by envelopes as things are.

    A field that moves is ordered by its column in clear for as long as that is read.
    """
    found = encrypted_inside(_as_expression(order), query)
    field = getattr(found, "values", found)
    if not isinstance(order, str) or getattr(field, "converts", None) is None:
        return field is not None
    with suppress(EnvelopeError):
        return field.column_in_clear(None, router.db_for_read(field.model)) is None
    return True


class EncryptedCol(Col):
    """A reference to the column, of one query alone.

    Where objects are loaded by it, its values stay sealed, and elsewhere they are opened. That is
    seen when SQL is made; `raw()` makes none, and always loads objects.
    """

    target: Any
    loads_objects = True
    sealed_as: Any = None

    def __init__(self, alias: str, target: Any, output_field: Any = None) -> None:
        # Of both, Django asks what the database has: the column, and not the type of its values.
        column = target.binary
        is_own = output_field is None or output_field == column
        # As by the constructors above, without their calls: each query makes some.
        self.alias, self.target = alias, column
        self.output_field = column if is_own else output_field

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if self.loads_objects:
            self.loads_objects = _loads_objects(compiler.query, self)
            self.sealed_as = vars(compiler.query).get(SEALED_AS) or loads_as.get()
            if not self.loads_objects and self.target.values.is_bound:
                _refuse_without_row(self, compiler.query)
        refuse_computing(compiler)
        if compiler.query.subquery:
            _refuse_around(self.target)
        return super().as_sql(compiler, connection)

    def get_db_converters(self, connection: Any) -> list[Any]:
        this_thread.has_used_key = True  # once a query: for each value it takes too long
        values: Any = self.target.values
        if self.output_field is not self.target:
            return super().get_db_converters(connection)
        converter = values.sealer(self.sealed_as) if self.loads_objects else values.converter
        return [converter, *values.converters_of_null]

    # Expressions ask their sources for this when they have no output field of their own (Max,
    # Upper, Coalesce): while SQL is made, so before a database could answer something.
    @property
    def _output_field_or_none(self) -> Any:
        raise refuse(self.target, "the database cannot compute on its values")


def _refuse_without_row(column: EncryptedCol, query: Any) -> None:
    """Raise if a query gives out the values of a column, and not whether there are some."""
    if any(each is column for each in (*query.select, *query.annotation_select.values())):
        raise without_row(column.target.values)


def _loads_objects(query: Any, column: EncryptedCol) -> bool:
    """Whether a query makes objects of its columns, and this one is not an annotation of them."""
    if not query.default_cols:
        return False
    annotations = query.annotation_select
    if annotations and any(selected is column for selected in annotations.values()):
        return False
    opened = vars(query).get(OPENED)
    return opened is None or column.target.values.field_path not in opened


def refuse_computing(compiler: Any) -> None:
    """Look at the query that SQL is made of, once.

    Raises:
        FieldError: it compares, orders or computes on an encrypted column.
    """
    known = vars(compiler)
    if known.get("envelope_fields_examined") is compiler.query:
        return
    known["envelope_fields_examined"] = compiler.query
    for part in _parts(compiler.query):
        field = encrypted_inside(part, compiler.query)
        if field is not None:
            del part  # error reports show variables, and it may hold what is looked for
            raise refuse(field, "the database cannot compare or compute on its values")
    for order in _ordering(compiler.query):
        field = encrypted_inside(order, compiler.query)
        if field is not None and not _orders_in_clear(order, field, compiler.connection):
            raise refuse(field, "the database cannot order by its values")


def _orders_in_clear(order: Any, field: Any, connection: Any) -> bool:
    """Whether a query is ordered by a field whose column in clear is read; it is noted."""
    values = getattr(field, "values", field)
    ordered = order.expression if isinstance(order, OrderBy) else order
    is_bare = isinstance(_referred(ordered), F | EncryptedCol)
    if values.converts is None or not is_bare:
        return False
    if values.column_in_clear(None, connection.alias) is None:
        return False
    call_sites.note(values, "order_by", call_sites.call_site())
    return True


def _refuse_around(field: Any) -> None:
    """Look at the queries that a subquery with a column in it is for, which SQL is being made of.

    They may have no encrypted column themselves, and Django tells the subquery of none of them.

    Raises:
        FieldError: as `refuse_computing` does; or a row would be inserted with an envelope.
    """
    frame = sys._getframe(2)  # of the code that makes SQL of the column
    while frame is not None:
        # The variables of no other code are looked at.
        if frame.f_globals.get("__name__") == SQLCompiler.__module__:
            compiler = frame.f_locals.get("self")
            if isinstance(compiler, SQLInsertCompiler):
                raise refuse(field, "its envelopes cannot be copied")
            if isinstance(compiler, SQLCompiler):
                refuse_computing(compiler)
        frame = frame.f_back  # type: ignore[assignment]  # None at last


def _parts(query: Any) -> Iterator[Any]:
    """Yield what a query is made of, but for the columns that it only selects."""
    for selected in (*query.select, *query.annotations.values()):
        if not _is_selected(selected):
            yield selected
    # Most are lookups by indexes, which see to it themselves.
    if not all(getattr(child, "is_of_index", False) for child in query.where.children):
        yield query.where
    for join in query.alias_map.values():
        filtered = getattr(join, "filtered_relation", None)
        if filtered is not None:
            yield filtered.resolved_condition
    yield from map(F, query.distinct_fields)
    for field, _, value in getattr(query, "values", ()):  # of an UPDATE
        if not hasattr(field, "to_plaintext"):  # what encrypted fields take, they say themselves
            yield value


def _ordering(query: Any) -> Iterator[Any]:
    """Yield the expressions that a query is ordered by."""
    ordering = query.order_by
    if not ordering and query.default_ordering and query.get_meta():
        ordering = query.get_meta().ordering
    yield from () if query.extra_order_by else map(_as_expression, ordering)


def _as_expression(order: Any) -> Any:
    return F(order.lstrip("+-")) if isinstance(order, str) else order


def _is_selected(expression: Any) -> bool:
    """Whether an expression is no more than a column, perhaps of another query."""
    if isinstance(expression, EncryptedCol | F):
        return True
    # Django 6.1 makes a Query of a Subquery, and wraps it where it has an output field.
    is_query = type(expression) in (Subquery, Query, ExpressionWrapper)
    if not is_query or column_in(expression) is None:
        return False
    return type(expression) is Query or _has_type_of_column(expression)


def _has_type_of_column(subquery: Any) -> bool:
    """Whether the output field that a subquery was given is that of its column.

    With a type of its own, it would give out envelopes as values of that.
    """
    column = subquery.get_source_expressions()[0].output_field
    if subquery.output_field != column:
        return False
    if isinstance(column, BinaryColumn):
        subquery.output_field = column  # not the field, by whose type a database would convert
    return True


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


def encrypted_inside(expression: Any, query: Query, in_lookup: bool = False) -> Any:
    """Return an encrypted field that an expression, resolved or not, is made of, or None.

    Args:
        expression: what may be made of one.
        query: the query that it is a part of.
        in_lookup: whether it is looked up: what a column in clear stands for may be.
    """
    if isinstance(expression, Col):
        is_encrypted = isinstance(expression, EncryptedCol)
        is_clear = getattr(expression, "is_of_clear_column", False) and not in_lookup
        return expression.target if is_encrypted or is_clear else None
    if isinstance(expression, F):
        return _named(expression.name, query)  # type: ignore[attr-defined]  # not in the stubs
    in_lookup = in_lookup or isinstance(expression, Lookup)
    found = (encrypted_inside(source, query, in_lookup) for source in _sources(expression))
    return next((field for field in found if field is not None), None)


def _sources(expression: Any) -> Iterable[Any]:
    if isinstance(expression, Exists) or getattr(expression, "is_of_index", False):
        return ()  # they see to it themselves
    if isinstance(expression, Query):
        # What it does inside is looked at when its own SQL is made.
        return filter(_is_selected, (*expression.select, *expression.annotation_select.values()))
    if isinstance(expression, Q):
        return [child[1] if isinstance(child, tuple) else child for child in expression.children]
    sources: list[Any] = getattr(expression, "get_source_expressions", list)()
    if _asks_for_null(expression):
        return [source for source in sources if not _is_selected(_referred(source))]
    return sources


def _asks_for_null(expression: Any) -> bool:
    return isinstance(expression, IsNull) or (
        type(expression) is Count and not expression.distinct  # type: ignore[attr-defined]
    )


def _referred(source: Any) -> Any:
    return source.get_source_expressions()[0] if isinstance(source, Ref) else source


def _named(name: str, query: Any) -> Any:
    """Return the encrypted field that a name or path in a query comes upon, or None."""
    if name in query.annotations:
        return encrypted_inside(query.annotations[name], query)
    if name == "pk":
        return None
    try:
        _, _, targets, _ = query.names_to_path(name.split(LOOKUP_SEP), query.get_meta())
    except FieldError:  # no field: "?", a column of extra(), or Django's to report
        return None
    # A column in clear that is converted is the encrypted field's in a query.
    found = (target for target in targets if hasattr(target, "to_plaintext") or _mirrors(target))
    return next(found, None)


def _mirrors(target: Any) -> bool:
    return getattr(getattr(target, "values", None), "converts", None) is not None
