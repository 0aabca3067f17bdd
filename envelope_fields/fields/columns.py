"""The column of an encrypted field in a query: it can be selected, and asked whether it is NULL.

Everything else would compare or compute on envelopes. Lookups and transforms are refused when they
are used, not when they are looked up: system checks, the admin and packages that make filters ask a
field for lookups; what they get can be held and asked for its name. The rest is refused when SQL is
made, since only then all parts of a query are known, by looking at what stands around the column.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from django.core.exceptions import FieldError
from django.db.models import (
    Count,
    Exists,
    ExpressionWrapper,
    F,
    Field,
    JSONField,
    Q,
    Subquery,
    Transform,
)
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import Col, Ref
from django.db.models.lookups import Exact, IsNull, Lookup
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler, SQLInsertCompiler

from envelope_fields.fields.binary import BinaryColumn
from envelope_fields.fields.errors import refuse, without_row
from envelope_fields.fields.types import FieldBase
from envelope_fields.keyring import here

SEALED_AS = "envelope_fields_sealed_as"  # in a query: the class of the sealed values that it loads
OPENED = "envelope_fields_opened"  # in a query: where the fields are that it opens when it loads


def is_column(expression: Any) -> bool:
    """Whether an expression gives back a column as it is, be it through a subquery."""
    if isinstance(expression, Ref):
        return is_column(expression.get_source_expressions()[0])
    if isinstance(expression, Subquery):
        return is_column(expression.query)
    if type(expression) is ExpressionWrapper:
        return isinstance(expression.expression, Query) and is_column(expression.expression)
    if isinstance(expression, Query):
        selected = [*expression.select, *expression.annotation_select.values()]
        return len(selected) == 1 and is_column(selected[0])
    return isinstance(expression, Col)


def is_ordered_by_envelopes(order: Any, query: Query) -> bool:
    """Whether a name or expression would order a query by an encrypted column."""
    if isinstance(order, str):
        order = F(order.lstrip("+-"))
    return encrypted_inside(order, query) is not None


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
        super().__init__(alias, column, column if is_own else output_field)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        if self.loads_objects:
            self.loads_objects = _loads_objects(compiler.query, self)
            self.sealed_as = vars(compiler.query).get(SEALED_AS)
            if not self.loads_objects and self.target.values.is_bound:
                _refuse_without_row(self, compiler.query)
        _refuse_computing(compiler)
        if compiler.query.subquery:
            _refuse_around(self.target)
        return super().as_sql(compiler, connection)

    def get_db_converters(self, connection: Any) -> list[Any]:
        here.came = True  # once a query: that it is for a key takes too long to say of each value
        values: Any = self.target.values
        if self.output_field is self.target:
            return [values.sealer(self.sealed_as) if self.loads_objects else values.converter]
        return super().get_db_converters(connection)

    # Expressions ask their sources for this when they have no output field of their own (Max,
    # Upper, Coalesce): while SQL is made, so before a database could answer something.
    @property
    def _output_field_or_none(self) -> Any:
        raise refuse(self.target, "the database cannot compute on its values")


class LookupsMixin(FieldBase):
    """What queries may ask of an encrypted field: its column, whether it is NULL, and its indexes.

    Attributes:
        indexes: the blind indexes of its values, which set this.
    """

    indexes: tuple[Any, ...] = ()

    def get_col(self, alias: str, output_field: Any = None) -> Col:
        # Never one that is kept: each query says of its own whether it loads objects by it.
        return EncryptedCol(alias, self, output_field)

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        found = self.indexed_lookup((), lookup_name) or self.indexed_lookup((lookup_name,), "exact")
        return found or _refused(_RefusedLookup, self, lookup_name)

    def get_transform(self, lookup_name: str) -> Any:
        return self.indexed_part((lookup_name,)) or _refused(_RefusedTransform, self, lookup_name)

    def indexed_lookup(self, path: tuple[str, ...], lookup_name: str) -> Any:
        """Return the lookup of a name in an index of the values, or of a part; None without one."""
        found = (index.lookup_of(path, lookup_name) for index in self.indexes)
        return next((each for each in found if each is not None), None)

    def indexed_part(self, path: tuple[str, ...]) -> Any:
        """Return the transform for a part of the values; None where no index is of such a one."""
        is_indexed = any(index.part_path[: len(path)] == path for index in self.indexes)
        kind = {"encrypted_field": self, "path": path}
        return type(IndexedPart.__name__, (IndexedPart,), kind) if is_indexed else None

    def slice_expression(self, expression: Any, start: int, length: int | None) -> NoReturn:
        raise refuse(self, "the database cannot cut its values")


class _RefusedLookup(Lookup):
    encrypted_field: Field[Any, Any]

    def __new__(cls, lhs: Any, rhs: Any) -> Any:
        field, name = cls.encrypted_field, cls.lookup_name
        if rhs is None and name in ("exact", "iexact") and not isinstance(field, JSONField):
            return Exact(lhs, None)  # Django makes `isnull` of it
        del rhs  # the search term, which an error report would show
        raise refuse(field, f"the lookup `{name}` would compare envelopes, and find nothing")


class _RefusedTransform(Transform):
    """Raises when something is asked of it: were it when it is made, Django would say its own."""

    encrypted_field: Field[Any, Any]

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        name = self.lookup_name
        raise refuse(self.encrypted_field, f"`{name}` cannot be looked up inside its values")

    as_sql = get_lookup = get_transform = resolve_expression = _refuse


class IndexedPart(Transform):
    """A part of encrypted values that has an index: it can be looked up, and nothing else.

    Attributes:
        path: where the part is; subclasses are made for one each.
    """

    encrypted_field: Any
    path: tuple[str, ...]

    @property
    def column(self) -> Any:
        """The column that it is a part of."""
        (inner,) = self.get_source_expressions()
        return inner.column if isinstance(inner, IndexedPart) else inner

    def get_lookup(self, lookup_name: str) -> Any:
        for path, name in ((self.path, lookup_name), ((*self.path, lookup_name), "exact")):
            found = self.encrypted_field.indexed_lookup(path, name)
            if found is not None:
                return found
        return _refused(_RefusedLookup, self.encrypted_field, lookup_name)

    def get_transform(self, lookup_name: str) -> Any:
        found = self.encrypted_field.indexed_part((*self.path, lookup_name))
        return found or _refused(_RefusedTransform, self.encrypted_field, lookup_name)

    def as_sql(self, *_: Any, **__: Any) -> NoReturn:
        raise refuse(self.encrypted_field, "a part of its values cannot be selected")


def _refused(kind: type, field: Field[Any, Any], name: str) -> Any:
    return type(kind.__name__, (kind,), {"lookup_name": name, "encrypted_field": field})


def _refuse_without_row(column: EncryptedCol, query: Any) -> None:
    """Raise if a query gives out the values of a column, and not whether there are some."""
    if any(each is column for each in (*query.select, *query.annotation_select.values())):
        raise without_row(column.target.values)


def _loads_objects(query: Any, column: EncryptedCol) -> bool:
    """Whether a query makes objects of its columns, and this one is not an annotation of them."""
    if not query.default_cols or any(
        selected is column for selected in query.annotation_select.values()
    ):
        return False
    opened = vars(query).get(OPENED)
    return opened is None or column.target.values.field_path not in opened


def _refuse_computing(compiler: Any) -> None:
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


def _refuse_around(field: Any) -> None:
    """Look at the queries that a subquery with a column in it is for, which SQL is being made of.

    They may have no encrypted column themselves, and Django tells the subquery of none of them.

    Raises:
        FieldError: as `_refuse_computing` does; or a row would be inserted with an envelope.
    """
    frame = sys._getframe(2)  # of the code that makes SQL of the column
    while frame is not None:
        # The variables of no other code are looked at.
        if frame.f_globals.get("__name__") == SQLCompiler.__module__:
            compiler = frame.f_locals.get("self")
            if isinstance(compiler, SQLInsertCompiler):
                raise refuse(field, "its envelopes cannot be copied")
            if isinstance(compiler, SQLCompiler):
                _refuse_computing(compiler)
        frame = frame.f_back  # type: ignore[assignment]  # None at last


def _parts(query: Any) -> Iterator[Any]:
    """Yield what a query is made of, but for the columns that it only selects."""
    for selected in (*query.select, *query.annotations.values()):
        if not _is_selected(selected):
            yield selected
    yield query.where
    for join in query.alias_map.values():
        filtered = getattr(join, "filtered_relation", None)
        if filtered is not None:
            yield filtered.resolved_condition
    yield from map(F, query.distinct_fields)
    yield from _ordering(query)
    for field, _, value in getattr(query, "values", ()):  # of an UPDATE
        if not hasattr(field, "to_plaintext"):  # what encrypted fields take, they say themselves
            yield value


def _ordering(query: Any) -> Iterator[Any]:
    """Yield what a query is ordered by, names as `F`."""
    ordering = query.order_by
    if not ordering and query.default_ordering and query.get_meta():
        ordering = query.get_meta().ordering
    for order in () if query.extra_order_by else ordering:
        yield F(order.lstrip("+-")) if isinstance(order, str) else order


def _is_selected(expression: Any) -> bool:
    """Whether an expression is no more than a column, perhaps of another query."""
    if isinstance(expression, EncryptedCol | F):
        return True
    # Django 6.1 makes a Query of a Subquery, and wraps it where it has an output field.
    if type(expression) not in (Subquery, Query, ExpressionWrapper) or not is_column(expression):
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


def encrypted_inside(expression: Any, query: Query) -> Any:
    """Return an encrypted field that an expression, resolved or not, is made of, or None."""
    if isinstance(expression, Col):
        return expression.target if isinstance(expression, EncryptedCol) else None
    if isinstance(expression, F):
        return _named(expression.name, query)  # type: ignore[attr-defined]  # not in the stubs
    found = (encrypted_inside(source, query) for source in _sources(expression))
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
    return next((target for target in targets if hasattr(target, "to_plaintext")), None)
