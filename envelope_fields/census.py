"""How many stored values are under each key version: counted in the database, decrypting nothing.

The bytes of a header are the same on every database (docs/spec/envelope-v1.md, "Layout"), so one
GROUP BY a column answers. No root key is asked, and whatever hides rows from an application,
such as a manager that filters, hides none from the census.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, connections, transaction

from envelope_fields.columns import Column, encrypted_columns
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.tables import says_no_table
from envelope_fields.key_versions import Key, KeyVersion, key_versions, of_key


class CensusFailed(EnvelopeError):
    """A column could not be counted, so the census would not be complete."""


@dataclass(frozen=True, slots=True)
class CensusRow:
    """The stored values of one field, in one database, under one key version.

    Attributes:
        database: the alias in `DATABASES`.
        model: `app_label.Model`, of the model that owns the column.
        field: the field's name.
        version_id: what the values name as their key version; None for values that are no
            envelopes, such as plaintext from before the field was encrypted.
        version: that key version; None where the keys' database does not know it.
        values: how many there are, at least 1. NULL is not a value.
    """

    database: str
    model: str
    field: str
    version_id: bytes | None
    version: KeyVersion | None
    values: int


@dataclass(frozen=True, slots=True)
class NotCounted:
    """A place that may hold values, and that the census could not count, or not fully.

    Attributes:
        database: the alias in `DATABASES`.
        place: its table and column, with the schema where the database has schemas.
        reason: what the place is, in one sentence without a full stop.
    """

    database: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place} in the database {self.database!r}: {self.reason}"


def not_counted(database: str | None = None) -> list[NotCounted]:
    """Name what is neither counted nor known to be empty.

    Whatever makes a count wrong in a way that cannot be named so makes `census` fail instead.

    Args:
        database: look in this one alone.

    Raises:
        CensusFailed: a database could not be looked at.
    """
    return []


def census(key: Key | None = None, *, database: str | None = None) -> list[CensusRow]:
    """Count the values of every encrypted field, for each key version and database.

    Every database that the routers let a model live in is asked, for every installed model. A
    table that does not exist holds no values. What is counted are columns: neither backups, nor
    tables of apps that are no longer installed, nor what `envelope_fields.kms` gave out.

    Args:
        key: count only what is under this master key, its id, its alias, or one of its versions.
        database: count only in this one.

    Raises:
        MasterKeyNotFound: there is no such key.
        CensusFailed: a column could not be counted.
    """
    counted = [
        (column, *group) for column in encrypted_columns(database) for group in _count(column)
    ]
    # Read after the values, so that none can be under a version that is too new to be known.
    versions = {version.version_id: version for version in key_versions()}
    rows = [
        CensusRow(
            column.database,
            column.model._meta.label,
            column.field.name,
            version_id,
            None if version_id is None else versions.get(version_id),
            values,
        )
        for column, version_id, values in counted
    ]
    if key is not None:
        wanted = of_key(key, versions.values())
        rows = [row for row in rows if row.version in wanted]
    return sorted(rows, key=_order)


def count_versions(column: Column, version_ids: Collection[bytes]) -> int:
    """Count the values of a column that are under one of these key versions.

    Raises:
        CensusFailed: the column could not be counted.
    """
    return sum(values for version_id, values in _count(column) if version_id in version_ids)


def _count(column: Column) -> list[tuple[bytes | None, int]]:
    """Count the values of a column by version id; None is for those that are no envelopes."""
    try:
        # A savepoint, where there is a transaction that a missing table must not break.
        with (
            transaction.atomic(using=column.database),
            connections[column.database].cursor() as cursor,
        ):
            # No parameters, so that a percent sign in a name means itself.
            cursor.execute(_counting_sql(column))
            groups = cursor.fetchall()
    except DatabaseError as error:
        if says_no_table(error):
            return []
        raise CensusFailed(
            f"{column} could not be counted in the database {column.database!r} "
            f"({type(error).__name__}). Is it reachable, and migrated with "
            "`python manage.py migrate`?"
        ) from error
    return [(version_id and bytes(version_id), values) for version_id, values in groups]


def _counting_sql(column: Column) -> str:
    # PostgreSQL leaves the rest of a large value where it is: length() does not need it, and
    # substr() fetches the chunk it asks for, since envelopes do not compress. OFFSET 0 keeps the
    # subquery apart, so that it does so once a value.
    is_postgresql = connections[column.database].vendor == "postgresql"
    format_version = layout.FORMAT_VERSION.hex()
    literal = rf"'\x{format_version}'::bytea" if is_postgresql else f"x'{format_version}'"
    # With its table, or SQLite takes the quoted name of a column that is not there for a text.
    stored = f"{column.table_sql}.{column.column_sql}"
    return (
        f"SELECT CASE WHEN size >= {layout.OVERHEAD_BYTES} "  # noqa: S608 - all quoted
        f"AND substr(header, 1, 1) = {literal} "
        f"THEN substr(header, 2, {layout.VERSION_ID_BYTES}) END, count(*) "
        f"FROM (SELECT length({stored}) AS size, "
        f"substr({stored}, 1, {layout.HEADER_BYTES}) AS header "
        f"FROM {column.table_sql} WHERE {stored} IS NOT NULL "
        f"{'OFFSET 0' if is_postgresql else ''}) AS headers GROUP BY 1"
    )


def _order(row: CensusRow) -> tuple[Any, ...]:
    """Known versions first, then unknown ones, then what is no envelope."""
    version = row.version
    known = (version.key_alias or str(version.key_id), version.number) if version else ("", 0)
    return (
        row.database,
        row.model,
        row.field,
        row.version_id is None,
        version is None,
        known,
        row.version_id or b"",
    )


__all__ = [
    "CensusFailed",
    "CensusRow",
    "NotCounted",
    "census",
    "count_versions",
    "not_counted",
]
