"""How many stored values are under each key version: counted in the database, decrypting nothing.

The bytes of a header are the same on every database (docs/spec/envelope-v1.md, "Layout"), so one
GROUP BY a column answers, in a short transaction and under no lock of ours. No root key is asked,
and whatever hides rows from an application, such as a manager that filters, a search path or
row-level security, hides none from the census: it counts them, or fails, or names in `not_counted`
what it did not see.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.db import DatabaseError, Error

from envelope_fields.census.codecs import INDEX
from envelope_fields.census.columns import CensusFailed, Column, stored_columns, tables_of
from envelope_fields.census.groups import Grouped, grouped
from envelope_fields.census.versions import Key, KeyVersion, key_versions, of_key
from envelope_fields.databases import UNLOCATED, database
from envelope_fields.databases.errors import says_no_table

VERSIONS_IN_A_QUERY = 500  # more are picked out in Python


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
        is_index: whether the field is a blind index: its values are MACs, which nothing opens.
        format: for values that are no envelopes, the package by whose format they begin, where the
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
    columns = _looked_up(database)
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
            is_index=column.codec is INDEX,
            format=group.format,
        )
        for column, group in found
    ]
    if key is not None:
        wanted = frozenset(of_key(key, known))
        rows = [row for row in rows if row.version in wanted]
    return sorted(rows, key=_order)


def count_by_version(column: Column, version_ids: Collection[bytes]) -> Counter[bytes]:
    """Count the values of a column under each of these key versions, in one statement.

    Raises:
        CensusFailed: the column could not be counted.
    """
    if not version_ids:
        return Counter()
    named = version_ids if len(version_ids) <= VERSIONS_IN_A_QUERY else ()
    found = _counted(column, named)
    wanted = frozenset(version_ids)
    return Counter({each: found[each] for each in wanted if found[each]})


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
        row.format,
    )


@dataclass(frozen=True, slots=True)
class Group:
    """The values of a column that name the same key version.

    Attributes:
        version_id: what they name; None for those that are no envelopes.
        values: how many there are.
        history: how many of them are in rows of the past alone.
        format: the package by whose format they begin; empty for envelopes, and for the others.
    """

    version_id: bytes | None
    values: int
    history: int = 0
    format: str = ""


def counted(column: Column, *, history: bool = True) -> list[Group]:
    """Count the values of a column by the key version that they name.

    Args:
        column: the column.
        history: whether rows of the past count, where the table keeps them.

    Raises:
        CensusFailed: it could not be counted, or not all of its rows.
    """
    present = _counted(column)
    if not history or not column.relation.with_history:
        return [_group(*group) for group in present.items()]
    ever = f"{column.table_sql}{column.relation.with_history}"
    everything = _counted(replace(column, table_sql=ever))
    return [
        _group(what, values, max(values - present[what], 0)) for what, values in everything.items()
    ]


def _group(what: bytes | str | None, values: int, history: int = 0) -> Group:
    if isinstance(what, str):
        return Group(None, values, history, what)
    return Group(what, values, history)


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
            "prepared there, and no query sees what it has written. Finish it with COMMIT PREPARED "
            "or ROLLBACK PREPARED, and count again."
        )


def _counted(column: Column, version_ids: Iterable[bytes] = ()) -> Grouped:
    try:
        return grouped(column, version_ids)
    except DatabaseError as error:
        if says_no_table(error) and not _was_renamed(column):
            return Counter()
        raise CensusFailed(
            f"{column} could not be counted in the database {column.database!r}: "
            f"{_reason(column, error)}"
        ) from error


def _was_renamed(column: Column) -> bool:
    """Whether a table that is not there any more was renamed since it was found."""
    relation = column.relation
    return relation is not UNLOCATED and database(column.database).is_there(relation)


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
        f"{type(error).__name__} at {column.location}. Is it reachable, and migrated with "
        "`python manage.py migrate`?"
    )
