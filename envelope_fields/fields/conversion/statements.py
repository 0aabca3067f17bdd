"""A column in clear in the statements that write the encrypted field that converts it.

It gets the value that the same statement writes of the encrypted field, or NULL, as the phase says
when SQL is made. An INSERT has the rows; an UPDATE has what is written of each column, and is
completed where it lacks the one in clear.
"""

from typing import Any

from django.db.models import Case, Expression, Value
from django.db.models.constants import OnConflict
from django.db.models.functions import Cast
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.models.sql.compiler import SQLInsertCompiler

from envelope_fields.fields import writing
from envelope_fields.fields.conversion.attribute import EmptiedValue, MirroredRow, refused
from envelope_fields.fields.keys import alias_for
from envelope_fields.fields.masks import refuse_mask
from envelope_fields.fields.prepared import (
    PLAIN_TYPES,
    Kept,
    StoredCol,
    StoredEnvelope,
    Unencrypted,
)
from envelope_fields.fields.sealed import MISSING
from envelope_fields.fields.statement_parts import PartOfStatement, with_columns_beside
from envelope_fields.fields.written import (
    OwnColumn,
    case_like,
    held_in,
    inserted,
    inside_cast,
    plain_value,
    resolved,
    stays,
)


class InClear(PartOfStatement, Expression):
    """What a statement writes into a column in clear, of a row."""

    def __init__(self, plain: Any, prepared: Any) -> None:
        super().__init__(output_field=plain)
        self.plain = plain
        self.prepared = prepared

    def __repr__(self) -> str:
        return f"<InClear: {self.plain}>"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        look_at(self.plain, compiler.query)
        # No name here holds the value: an error report would show it.
        written = Unencrypted(self._written(compiler), None)
        field = self.plain.values
        writes_old = field.phase(connection.alias).writes_old or field.reads_beside
        # Where the envelope stays, an old build may have written another value beside it.
        if not writes_old and not stays(written.value, connection):
            return "NULL", ()
        return _compiled(self.plain, written, compiler, connection)

    def _written(self, compiler: Any) -> Any:
        """Return what is written of the encrypted field, as it travels to the database."""
        field, instance = self.plain.values, self.prepared.instance
        if isinstance(compiler, SQLInsertCompiler):
            if instance is None:
                return None
            made = MISSING if compiler.query.raw else inserted(field, instance)
            return held_in(field, instance) if made is MISSING else made
        written = {each: value for each, _, value in compiler.query.values}
        if field in written:
            return resolved(written[field], compiler.query)
        if instance is None or field.attname in vars(instance):
            raise refused(self.plain)
        return StoredCol(field)  # it was deferred, and stays as it is


class NothingInClear(PartOfStatement):
    """NULL in a column in clear, which is not written any more."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        query = compiler.query
        if isinstance(query, UpdateQuery) and not is_written(self.plain.values, query):
            raise refused(self.plain)
        return "NULL", ()


class _Branch(InClear):
    """What a CASE gives for a column in clear: a value."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return _compiled(self.plain, self.prepared, compiler, connection)


def _compiled(plain: Any, written: Unencrypted, compiler: Any, connection: Any) -> tuple[str, Any]:
    """Return SQL for what is written of the encrypted field, in the column in clear."""
    while type(written.value) is Cast:
        written = Unencrypted(inside_cast(written.value), None)
    if stays(written.value, connection):
        return OwnColumn(plain).as_sql(compiler, connection)
    if type(written.value) is Case:
        case: Any = _case(plain, written.value)
        if connection.features.requires_casted_case_in_updates:
            case = Cast(case, output_field=plain)
        compiled: tuple[str, Any] = compiler.compile(case)
        return compiled
    if plain.values.reads_beside:
        return "NULL", ()  # whose place the envelope takes
    content = Unencrypted(_content(plain.values, written.value), None)
    if content.value is None:
        return "NULL", ()
    return plain.compiled_in_clear(content, compiler, connection)  # type: ignore[no-any-return]


def _case(plain: Any, case: Case) -> Case:
    results = [_Branch(plain, Unencrypted(when.result, None)) for when in case.cases]
    default = _Branch(plain, Unencrypted(case.default, None))
    return case_like(case, results, default, plain)


def _content(field: Any, value: Any) -> Any:
    """Return what the plain field takes for a value; JSON's null is an expression."""
    while type(value) in (Value, Unencrypted) and not writing.is_json_null(field, value):
        value = value.value
    return value if writing.is_json_null(field, value) else plain_value(field, value)


# -- Statements that lack the column in clear ------------------------------------------------------


def complete(plain: Any, query: Any) -> None:
    """Have a statement that writes the encrypted field write the column in clear, too.

    Django asks each column for its placeholder while it goes through what is written. An INSERT
    writes all columns.
    """
    if isinstance(query, UpdateQuery):
        if not is_written(plain, query):
            vars(query)["values"].append((plain, None, _beside(plain.values, query)))
    elif getattr(query, "on_conflict", None) is OnConflict.UPDATE:
        look_at(plain, query)


def _beside(field: Any, query: Any) -> Any:
    """Return what stands for the value that an UPDATE writes beside that of the encrypted field.

    That is the value itself, where it has a plain one.
    """
    # No name here holds it: an error report would show that.
    written = Unencrypted(None, None)
    for each, _, written.value in query.values:
        if each == field:
            break
    else:
        return MirroredRow(None)
    if type(written.value) is Unencrypted:
        written = written.value
    return written if type(written.value) in PLAIN_TYPES else MirroredRow(None)


def is_insert(query: Any) -> bool:
    """Whether a statement inserts rows and updates none: it has all columns."""
    return type(query) is InsertQuery and vars(query)["on_conflict"] is None


def is_written(field: Any, query: Any) -> bool:
    """Whether an UPDATE writes the column of a field."""
    written = [entry[0] for entry in vars(query)["values"]]
    return field in written


def look_at(plain: Any, query: Any) -> None:
    """Look at an upsert: it writes both columns into a row that is there, or none.

    `FieldError` if it would write the one in clear by itself, or find rows by it.
    """
    if getattr(query, "on_conflict", None) is not OnConflict.UPDATE:
        return
    is_updated = plain.values in query.update_fields
    if plain in query.unique_fields or (plain in query.update_fields and not is_updated):
        raise refused(plain)
    if is_updated and plain not in query.update_fields:
        query.update_fields = [*query.update_fields, plain]


# -- The encrypted column, where it is not written -------------------------------------------------


def as_null(field: Any, value: Any, connection: Any) -> Any:
    """Return NULL for the encrypted column, and raise what it would with a value.

    An envelope stays that was found beside NULL in the column that is read.

    Raises:
        FieldError: the value is an expression, or a mask; or the field takes its key from the row,
            or is bound to it, and there is none.
    """
    if isinstance(value, Kept) and type(value.sealed) is EmptiedValue:
        return field.stored_by(value, connection)
    refuse_mask(field, value)
    prepared = value if type(value) is Unencrypted else Unencrypted(value, None)
    del value  # error reports show variables
    is_expression = hasattr(prepared.value, "as_sql")
    if is_expression and not writing.is_json_null(field, prepared.value):
        writing.admit(field, prepared)
    if prepared.instance is None and _has_values(prepared.value):
        if callable(field.key):
            alias_for(field, None)
        if field.is_bound:
            writing.context_for(field, None, None)
    return with_columns_beside(field, None)


def _has_values(written: Any) -> bool:
    """Whether what is written has values that come without their rows."""
    if isinstance(written, Case):
        return any(map(_has_values, [*(when.result for when in written.cases), written.default]))
    if isinstance(written, Cast):
        return _has_values(inside_cast(written))
    if isinstance(written, Value):
        return _has_values(written.value)
    if isinstance(written, Unencrypted) and written.instance is not None:
        return False
    kept = written is None or isinstance(written, Kept | StoredCol | StoredEnvelope)
    return not kept
