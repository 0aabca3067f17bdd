"""Counting what is in a column, in a short transaction and under no lock of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import DatabaseError, Error, connections

from envelope_fields.columns import Column, located
from envelope_fields.crypto import format as layout
from envelope_fields.databases import UNLOCATED, Database, database
from envelope_fields.databases.errors import says_no_table
from envelope_fields.exceptions import EnvelopeError


class CensusFailed(EnvelopeError):
    """A column could not be counted, so the census would not be complete."""


@dataclass(frozen=True, slots=True)
class Group:
    """The values of a column that name the same key version.

    Attributes:
        version_id: what they name; None for those that are no envelopes.
        values: how many there are.
        history: how many of them are in rows of the past alone.
    """

    version_id: bytes | None
    values: int
    history: int = 0


def counted(column: Column, *, history: bool = True) -> list[Group]:
    """Count the values of a column by the key version that they name.

    Args:
        column: the column.
        history: whether rows of the past count, where the table keeps them.

    Raises:
        CensusFailed: it could not be counted, or not all of its rows.
    """
    present = _counted(column, counting_sql(column.database, column.table_sql, column.column_sql))
    if not history or not column.relation.with_history:
        return [Group(*group) for group in present.items()]
    ever = f"{column.table_sql}{column.relation.with_history}"
    everything = _counted(column, counting_sql(column.database, ever, column.column_sql))
    return [
        Group(version_id, values, max(values - present[version_id], 0))
        for version_id, values in everything.items()
    ]


def tables_of(columns: Iterable[Column]) -> list[Column]:
    """Find where the tables of columns are, as `located` does.

    Raises:
        CensusFailed: a database could not be asked.
    """
    try:
        return list(located(columns))
    except Error as error:
        raise CensusFailed(
            "The tables of encrypted fields could not be looked up in a database "
            f"({type(error).__name__}). Is it reachable?"
        ) from error


def refuse_prepared(alias: str) -> None:
    """Raise if a transaction is prepared in a database: its rows are seen once it is committed.

    Raises:
        CensusFailed: one is, or the database could not be asked.
    """
    try:
        prepared = database(alias).prepared_transaction()
    except Error as error:
        raise CensusFailed(
            f"The database {alias!r} could not be counted ({type(error).__name__}). Is it "
            "reachable?"
        ) from error
    if prepared:
        raise CensusFailed(
            f"The database {alias!r} could not be counted: the transaction {prepared!r} is "
            "prepared there, and nobody sees what it has written. Finish it with COMMIT PREPARED "
            "or ROLLBACK PREPARED, and count again."
        )


def counting_sql(alias: str, table_sql: str, column_sql: str) -> str:
    """Return the query that counts values by the version id in their header."""
    # PostgreSQL leaves the rest of a large value where it is: length() does not need it, and
    # substr() fetches the chunk it asks for, since envelopes do not compress. OFFSET 0 keeps the
    # subquery apart, so that it does so once a value.
    is_postgresql = connections[alias].vendor == "postgresql"
    format_version = layout.FORMAT_VERSION.hex()
    literal = rf"'\x{format_version}'::bytea" if is_postgresql else f"x'{format_version}'"
    # With its table, or SQLite takes the quoted name of a column that is not there for a text.
    stored = f"stored.{column_sql}"
    return (
        f"SELECT CASE WHEN size >= {layout.OVERHEAD_BYTES} "  # noqa: S608 - all quoted
        f"AND substr(header, 1, 1) = {literal} "
        f"THEN substr(header, 2, {layout.VERSION_ID_BYTES}) END, count(*) "
        f"FROM (SELECT length({stored}) AS size, "
        f"substr({stored}, 1, {layout.HEADER_BYTES}) AS header "
        f"FROM {table_sql} AS stored WHERE {stored} IS NOT NULL "
        f"{'OFFSET 0' if is_postgresql else ''}) AS headers GROUP BY 1"
    )


def grouped(ask: Database, sql: str) -> Counter[bytes | None]:
    """Return what a counting query counts, and nothing less.

    Raises:
        DatabaseError: it could not, or rows would be hidden from it.
    """
    with ask.seeing_all_rows():
        # No parameters, so that a percent sign in a name means itself.
        groups = ask.fetch(sql)
    return Counter({version_id and bytes(version_id): values for version_id, values in groups})


def _counted(column: Column, sql: str) -> Counter[bytes | None]:
    ask = database(column.database)
    try:
        return grouped(ask, sql)
    except DatabaseError as error:
        if says_no_table(error) and not _is_elsewhere(ask, column):
            return Counter()
        raise CensusFailed(
            f"{column} could not be counted in the database {column.database!r}: "
            f"{_reason(column, error)}"
        ) from error


def _is_elsewhere(ask: Database, column: Column) -> bool:
    """Whether a table that is not there any more was renamed since it was found."""
    return column.relation is not UNLOCATED and ask.is_there(column.relation)


def _reason(column: Column, error: DatabaseError) -> str:
    relation = column.relation
    if not relation.may_read:
        return (
            f"this role may not read {relation}. Grant it USAGE on the schema {relation.schema!r} "
            'and SELECT on the table, or leave the schema out with ENVELOPE_FIELDS["SCHEMAS"].'
        )
    if relation.hides_rows:
        return (
            f"row-level security hides rows of {relation} from this role. Count as a role that "
            "has BYPASSRLS, or as the owner of the table where that is not forced."
        )
    if says_no_table(error):
        return f"{relation} was renamed meanwhile. Count again."
    return (
        f"{type(error).__name__} at {column.place}. Is it reachable, and migrated with "
        "`python manage.py migrate`?"
    )
