"""Which columns hold encrypted values, what their bytes mean, and how many values are in them.

`columns` finds the columns, with the schema that each is in; a column's codec says which key
version a stored value names and what a rewrap replaces; `values` counts those of a column;
`versions` has what the keys' database says of the versions; `text_copies` and `uncounted` name what
is elsewhere.

Whatever hides rows from an application, such as a manager that filters, a search path or row-level
security, hides none from the census: it counts them, or fails, or names in `not_counted` what it
did not see.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import Error

from envelope_fields.census.columns import CensusFailed, Column, stored_columns, tables_of
from envelope_fields.census.uncounted import NotCounted, not_counted
from envelope_fields.census.values import Key, KeyVersion, counted, key_versions, of_key
from envelope_fields.crypto.blind_index import INDEX_CODEC
from envelope_fields.databases import database as database_of

__all__ = [
    "CensusFailed",
    "CensusRow",
    "KeyVersion",
    "NotCounted",
    "census",
    "not_counted",
]


@dataclass(frozen=True, slots=True)
class CensusRow:
    """The stored values of one field, in one database, under one key version.

    Attributes:
        database: the alias in `DATABASES`.
        model: `app_label.Model`, of the model that owns the column.
        field: the field's name.
        version_id: what the values name as their key version; None for values that are not
            envelopes, such as plaintext from before the field was encrypted.
        version: that key version; None where the keys' database does not know it.
        values: how many there are, at least 1. NULL is not a value.
        schema: the schema of the table; None where the database has none, or all its encrypted
            columns are in one and are found without its name.
        history: how many of them are only in rows of the past, which a system-versioned table of
            MariaDB keeps. No rotation moves these.
        is_index: whether the field is a blind index: its values are MACs, which nothing opens.
        format: for values that are not envelopes, the package by whose format they begin, where the
            field reads it (`legacy=`); else empty.
    """

    database: str
    model: str
    field: str
    version_id: bytes | None
    version: KeyVersion | None
    values: int
    schema: str | None = None
    history: int = 0
    is_index: bool = False
    format: str = ""

    @property
    def location(self) -> str:
        """Where the values are, for messages."""
        schema = "" if self.schema is None else f"the schema {self.schema!r} of "
        return f"{self.model}.{self.field} in {schema}the database {self.database!r}"


def census(key: Key | None = None, *, database: str | None = None) -> list[CensusRow]:
    """Count the values of every encrypted field and blind index, by key version and database.

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
    return count_columns(_looked_up(database), key)


def count_columns(columns: Iterable[Column], key: Key | None = None) -> list[CensusRow]:
    """Count the values of some columns, located, as `census` does; errors as above."""
    found = [(column, group) for column in columns for group in counted(column)]
    # Read after the values, so that none can be under a version that is too new to be known.
    known = key_versions() if key is None else key_versions(key)
    versions = {version.version_id: version for version in known}
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
            is_index=column.codec is INDEX_CODEC,
            format=group.format,
        )
        for column, group in found
    ]
    if key is not None:
        wanted = frozenset(of_key(key, known))
        rows = [row for row in rows if row.version in wanted]
    return sorted(rows, key=_order)


def _looked_up(database: str | None) -> list[Column]:
    """Find the columns to count, in databases where nothing is about to appear.

    Raises:
        CensusFailed: one cannot be looked at, or a transaction is prepared in it.
    """
    columns = list(stored_columns(database))
    for alias in dict.fromkeys(column.database for column in columns):
        refuse_prepared(alias)
    return tables_of(columns)


def _order(row: CensusRow) -> tuple[Any, ...]:
    """Known versions first, then unknown ones, then what is not an envelope."""
    version = row.version
    known = (version.key_alias or str(version.key_id), version.number) if version else ("", 0)
    return (
        *(row.database, row.model, row.field, row.schema or ""),
        *(row.version_id is None, version is None, known),
        *(row.version_id or b"", row.format),
    )


def refuse_prepared(alias: str) -> None:
    """Raise if a transaction is prepared in a database: its rows are seen once it is committed.

    Raises:
        CensusFailed: one is, or the database could not be asked.
    """
    try:
        prepared = database_of(alias).prepared_transaction()
    except Error as error:
        raise CensusFailed(
            f"The database {alias!r} could not be counted ({type(error).__name__}). Is it "
            "reachable?"
        ) from error
    if prepared:
        raise CensusFailed(
            f"The database {alias!r} could not be counted: the transaction {prepared!r} is "
            "prepared there, and no query sees what it has written. Finish it with COMMIT PREPARED "
            "or ROLLBACK PREPARED, and count again."
        )
