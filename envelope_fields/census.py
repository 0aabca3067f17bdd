"""How many stored values are under each key version: counted in the database, decrypting nothing.

The bytes of a header are the same on every database (docs/spec/envelope-v1.md, "Layout"), so one
GROUP BY a column answers. No root key is asked, and whatever hides rows from an application,
such as a manager that filters, a search path or row-level security, hides none from the census:
it counts them, or fails, or names in `not_counted` what it did not see.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from envelope_fields.columns import Column, encrypted_columns
from envelope_fields.counting import CensusFailed, counted, refuse_prepared, tables_of
from envelope_fields.key_versions import Key, KeyVersion, key_versions, of_key
from envelope_fields.uncounted import NotCounted, not_counted


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
        schema: the schema of the table; None where the database has none, or all its encrypted
            columns are in one and are found without its name.
        history: how many of them are only in rows of the past, which a system-versioned table of
            MariaDB keeps. No rotation moves these.
    """

    database: str
    model: str
    field: str
    version_id: bytes | None
    version: KeyVersion | None
    values: int
    schema: str | None = None
    history: int = 0

    @property
    def place(self) -> str:
        """Where the values are, for messages."""
        schema = "" if self.schema is None else f"the schema {self.schema!r} of "
        return f"{self.model}.{self.field} in {schema}the database {self.database!r}"


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
    columns = _looked_up(database)
    found = [(column, group) for column in columns for group in counted(column)]
    # Read after the values, so that none can be under a version that is too new to be known.
    versions = {version.version_id: version for version in key_versions()}
    rows = [
        CensusRow(
            database=column.database,
            model=column.model._meta.label,
            field=column.field.name,
            version_id=group.version_id,
            version=None if group.version_id is None else versions.get(group.version_id),
            values=group.values,
            schema=column.schema,
            history=group.history,
        )
        for column, group in found
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
    groups = counted(column, history=False)
    return sum(group.values for group in groups if group.version_id in version_ids)


def _looked_up(database: str | None) -> list[Column]:
    """Find the columns to count, in databases where nothing is about to appear.

    Raises:
        CensusFailed: one cannot be looked at, or a transaction is prepared in it.
    """
    columns = list(encrypted_columns(database))
    for alias in dict.fromkeys(column.database for column in columns):
        refuse_prepared(alias)
    return tables_of(columns)


def _order(row: CensusRow) -> tuple[Any, ...]:
    """Known versions first, then unknown ones, then what is no envelope."""
    version = row.version
    known = (version.key_alias or str(version.key_id), version.number) if version else ("", 0)
    return (
        row.database,
        row.model,
        row.field,
        row.schema or "",
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
