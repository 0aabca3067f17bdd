"""How many stored values are under each key version: counted in the database, decrypting nothing.

The bytes of a header are the same on every database (docs/spec/envelope-v1.md, "Layout"), so one
GROUP BY a column answers. No root key is asked, and whatever hides rows from an application,
such as a manager that filters, hides none from the census.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connections, transaction

from envelope_fields.columns import Column, encrypted_columns, says_no_table
from envelope_fields.conf import configuration
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion

Key = MasterKey | MasterKeyVersion | UUID | str


class CensusFailed(EnvelopeError):
    """A column could not be counted, so the census would not be complete."""


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """A key version that the keys' database knows.

    Attributes:
        version_id: the 8 bytes by which envelopes name it.
        number: its number; the highest of its key is current.
        state: its own state, or that of its key, where that one is not enabled.
        key_id, key_alias: its master key; the alias is None once the key is destroyed.
        is_current: whether values are written under it.
    """

    version_id: bytes
    number: int
    state: str
    key_id: UUID
    key_alias: str | None
    is_current: bool


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
        wanted = _of_key(key, versions.values())
        rows = [row for row in rows if row.version in wanted]
    return sorted(rows, key=_order)


def key_versions() -> list[KeyVersion]:
    """Return every key version, also those that nothing is stored under, key by key."""
    using = configuration().database
    rows = MasterKeyVersion.objects.using(using).values_list(
        "version_id", "number", "state", "master_key__state", "master_key_id", "master_key__alias"
    )
    try:
        with transaction.atomic(using=using):
            found = list(rows.order_by("master_key__alias", "master_key_id", "number"))
    except DatabaseError as error:
        if says_no_table(error):
            return []  # not migrated yet; envelopes that are there all the same show as unknown
        raise CensusFailed(
            f"Master keys could not be read from the database {using!r} ({type(error).__name__})."
        ) from error
    newest = {key_id: number for _, number, _, _, key_id, _ in found}
    return [
        KeyVersion(
            version_id=bytes(version_id),
            number=number,
            state=state if key_state == KeyState.ENABLED else key_state,
            key_id=key_id,
            key_alias=alias,
            is_current=number == newest[key_id],
        )
        for version_id, number, state, key_state, key_id, alias in found
    ]


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
    # substr() fetches the chunk it asks for, since envelopes do not compress.
    format_version = layout.FORMAT_VERSION.hex()
    # With its table, or SQLite takes the quoted name of a column that is not there for a text.
    stored = f"{column.table_sql}.{column.column_sql}"
    if connections[column.database].vendor == "postgresql":
        literal = rf"'\x{format_version}'::bytea"
    else:
        literal = f"x'{format_version}'"
    return (
        f"SELECT CASE WHEN length({stored}) >= {layout.OVERHEAD_BYTES} "  # noqa: S608 - all quoted
        f"AND substr({stored}, 1, 1) = {literal} "
        f"THEN substr({stored}, 2, {layout.VERSION_ID_BYTES}) END, count(*) "
        f"FROM {column.table_sql} WHERE {stored} IS NOT NULL GROUP BY 1"
    )


def _of_key(key: Key, versions: Iterable[KeyVersion]) -> list[KeyVersion]:
    found = [version for version in versions if _is_of(version, key)]
    if not found:
        raise MasterKeyNotFound(
            f"There is no master key {key} in the database {configuration().database!r}."
        )
    return found


def _is_of(version: KeyVersion, key: Key) -> bool:
    if isinstance(key, MasterKeyVersion):
        return version.version_id == bytes(key.version_id)
    if isinstance(key, MasterKey):
        return version.key_id == key.id
    return key in (version.key_id, version.key_alias)


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


__all__ = ["CensusFailed", "CensusRow", "KeyVersion", "census", "key_versions"]
