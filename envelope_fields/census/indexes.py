"""The columns of blind indexes: where they are, and whether there is anything for them to find."""

from collections.abc import Container, Iterator
from dataclasses import replace
from typing import Any

from django.db import DatabaseError, connections, router

from envelope_fields.census.columns import CensusFailed, Column, columns_of, tables_of
from envelope_fields.databases import UNLOCATED, RowsHidden, database as database_of
from envelope_fields.databases.errors import advice, says_no_column, says_no_table
from envelope_fields.databases.tables import has_table
from envelope_fields.exceptions import EnvelopeError


def tables_of_index(index: Any) -> Iterator[Column]:
    """Find the tables of one index, also those that lack its column, as before a migration.

    Raises:
        CensusFailed: a database could not be asked.
    """
    encrypted = index.sources[0].field
    for declared in columns_of([(index.model, index)]):
        quote = connections[declared.database].ops.quote_name
        for there in tables_of([replace(declared, column_sql=quote(encrypted.column))]):
            found = replace(there, column_sql=declared.column_sql)
            if there.relation is not UNLOCATED:
                relation = replace(there.relation, column=str(index.column))
                found = replace(found, relation=relation)
            if _is_there(found):
                yield found


def _is_there(column: Column) -> bool:
    written = router.db_for_write(column.model)
    return column.database == written or has_table(column.table_sql, column.database)


def missing_in(index: Any) -> int:
    """Count the rows of an index that have values, and no index.

    Some of them are right: nothing is left of their values in the normal form.

    Raises:
        CensusFailed: they could not be counted.
    """
    return sum(_missing(index, column) for column in tables_of_index(index))


def _missing(index: Any, column: Column) -> int:
    ask, quote = database_of(column.database), connections[column.database].ops.quote_name
    given = "".join(
        f" AND stored.{quote(source.field.column)} IS NOT NULL" for source in index.sources
    )
    try:
        with ask.seeing_all_rows():
            [[rows]] = ask.fetch(
                f"SELECT count(*) FROM {column.table_sql} AS stored "  # noqa: S608 - names are quoted
                f"WHERE stored.{column.column_sql} IS NULL{given}"
            )
    except DatabaseError as error:
        if says_no_table(error):
            return 0
        raise CensusFailed(
            f"The rows that {column.location} lacks in the database {column.database!r} could not "
            f"be counted ({type(error).__name__})."
        ) from error
    return int(rows)


class ColumnNotThere(EnvelopeError):
    """The table of a blind index has no column for it: rows could come that it does not have."""


def index_has_rows(index: Any, databases: Container[str] | None = None) -> bool:
    """Whether a table of a blind index has rows, or may have some that are hidden.

    Args:
        index: the index; its model may be one of a migration.
        databases: the aliases of those that may have rows of it; None for all.

    Raises:
        ColumnNotThere: a table lacks the column, as before a migration.
        CensusFailed: a database could not be asked.
    """
    found = columns_of([(index.model, index)])
    asked = (each for each in found if databases is None or each.database in databases)
    return any(map(_has_rows_anywhere, asked))


def _has_rows_anywhere(declared: Column) -> bool:
    try:
        return any(map(_has_rows, tables_of([declared])))
    except (AssertionError, RuntimeError):
        # Django, or pytest-django, forbids a test to ask this database: it puts no rows there.
        return False


def _has_rows(column: Column) -> bool:
    ask = database_of(column.database)
    try:
        with ask.seeing_all_rows():
            stored = f"stored.{column.column_sql}"
            sql = f"SELECT {stored} FROM {column.table_sql} AS stored LIMIT 1"  # noqa: S608
            return bool(ask.fetch(sql))
    except DatabaseError as error:
        if says_no_table(error):
            return False
        if says_no_column(error):
            raise ColumnNotThere(
                f"{column.location} is not there in the database {column.database!r} yet, so the "
                "blind index cannot be begun. Run `python manage.py migrate`."
            ) from error
        try:
            ask.refuse_hidden(column.table_sql)
        except RowsHidden:
            return not ask.is_empty_for_certain(column.table_sql)
        raise CensusFailed(
            f"Whether {column.location} has rows could not be asked ({type(error).__name__}). "
            f"{advice(error, column.database)}"
        ) from error
