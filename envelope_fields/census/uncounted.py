"""What may hold values and is no encrypted column that can be counted for certain: by name."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from django.db import Error, connections, router

from envelope_fields.census.columns import CensusFailed, Column, located, stored_columns, tables_of
from envelope_fields.census.values import Grouped, counted, grouped_each
from envelope_fields.census.versions import known_ids
from envelope_fields.databases import UNLOCATED, Database, Kind, Relation, database as database_of
from envelope_fields.databases.tables import absent
from envelope_fields.models import DEFAULT_ALIAS

_FOR_CERTAIN = (Kind.TABLE, Kind.VERSIONED_TABLE)


@dataclass(frozen=True, slots=True)
class NotCounted:
    """A place that may hold values, and that the census could not count, or not fully.

    Attributes:
        database: the alias in `DATABASES`.
        location: its table and column, with the schema where the database has schemas; empty where
            it is about the whole database.
        reason: what it is, without a full stop.
    """

    database: str
    location: str
    reason: str

    def __str__(self) -> str:
        location = f"{self.location} in the database" if self.location else "the database"
        return f"{location} {self.database!r}: {self.reason}"


def not_counted(database: str | None = None) -> list[NotCounted]:
    """Name what is neither counted nor known to be empty.

    Such are a table that a model declares and no database has; a view or a foreign table under its
    name; and, where they hold values under key versions that are known, a column of the same name
    in another table (a detached partition, a copy, a schema that the settings leave out), and
    another column of a table of the same name (one that was renamed, or whose field was removed).
    Each of these columns is read. Whatever makes a count wrong in a way that cannot be named so
    makes `census` fail instead.

    Args:
        database: look in this one alone.

    Raises:
        CensusFailed: a database could not be looked at.
    """
    declared = list(stored_columns(database))
    found: list[NotCounted] = []
    missing: list[Column] = []
    with _failing():
        for alias, columns in groupby(declared, key=lambda column: column.database):
            here = list(columns)
            there = list(located(here))
            missing += _absent(alias, there)
            found += _doubtful(alias, here, there)
            found += _others(alias, here, there)
            found += _unseen(alias)
    return [*found, *_nowhere(declared, missing, database)]


def undeclared(database: str | None = None) -> list[NotCounted]:
    """Name, of what is not counted, the tables that no model declares and that hold values.

    Arguments and errors are those of `not_counted`.
    """
    found: list[NotCounted] = []
    with _failing():
        for alias, columns in groupby(stored_columns(database), key=lambda each: each.database):
            here = list(columns)
            found += _others(alias, here, list(located(here)))
    return found


def in_other_formats(key: str | None) -> list[NotCounted]:
    """Name what another package has stored in columns that are written under a key.

    It is under that package's keys, and outlives ours.

    Args:
        key: an alias; what is in a column whose field asks for its key is named for each.

    Raises:
        CensusFailed: a column could not be counted.
    """
    columns = [column for column in stored_columns() if column.formats]
    return [
        NotCounted(
            column.database,
            column.location,
            f"{group.values:,} values in the format of {group.format}, which are under no key of "
            "this package: convert them, or delete their rows",
        )
        for column in tables_of([each for each in columns if _is_written_under(each, key)])
        for group in counted(column)
        if group.format
    ]


def in_clear(key: str | None) -> list[NotCounted]:
    """Name what is in clear in columns that fields written under a key convert.

    It is under no key, and outlives each.

    Args:
        key: as for `in_other_formats`.

    Raises:
        CensusFailed: a column could not be counted.
    """
    columns = [
        column
        for column in stored_columns()
        if getattr(column.field, "plain_field", None) is not None
        and not column.formats
        and _is_written_under(column, key)
    ]
    found = ((column, _values_in_clear(column)) for column in tables_of(columns))
    return [
        NotCounted(
            column.database,
            f"{column.table_sql}.{column.field.plain_field.column}",  # type: ignore[attr-defined]
            f"{values:,} values in clear, which {column} converts: bring it to the phase `only` "
            "first, or delete their rows",
        )
        for column, values in found
        if values
    ]


def _values_in_clear(column: Column) -> int:
    field: Any = column.encrypted_field
    ask, quote = database_of(column.database), connections[column.database].ops.quote_name
    with _failing(), ask.seeing_all_rows():
        clear = f"stored.{quote(field.plain_field.column)}"
        [[values]] = ask.fetch(f"SELECT count({clear}) FROM {column.table_sql} AS stored")  # noqa: S608 - names are quoted
    return int(values)


def _is_written_under(column: Column, key: str | None) -> bool:
    own = column.encrypted_field.key
    return callable(own) or (own or DEFAULT_ALIAS) == key


@contextmanager
def _failing() -> Iterator[None]:
    """Raise what a database raises as `CensusFailed`."""
    try:
        yield
    except Error as error:
        raise CensusFailed(
            f"What is not counted could not be looked for ({type(error).__name__}). Is the "
            "database reachable?"
        ) from error


def _doubtful(
    alias: str, declared: Iterable[Column], counted: Iterable[Column]
) -> Iterator[NotCounted]:
    """Name what stands under the name of a table, and may show less than there is."""
    names = [(column.table_sql, column.column_sql) for column in declared]
    relations = [column.relation for column in counted]
    for relation in (*relations, *database_of(alias).doubtful(names)):
        if relation.kind not in _FOR_CERTAIN:
            yield NotCounted(alias, str(relation), relation.kind.value)


def _unseen(alias: str) -> Iterator[NotCounted]:
    """Name a database in which something cannot be seen at all."""
    unseen = database_of(alias).unseen()
    if unseen:
        yield NotCounted(alias, "", unseen)


def _absent(alias: str, counted: Iterable[Column]) -> list[Column]:
    """Pick the columns whose table is not in their database, which is asked once for all."""
    unlocated = [column for column in counted if column.relation is UNLOCATED]
    tables = {column.table_sql for column in unlocated}
    missing = absent(tables, alias) if tables else set()
    return [column for column in unlocated if column.table_sql in missing]


def _nowhere(
    declared: Iterable[Column], not_there: Sequence[Column], database: str | None
) -> Iterator[NotCounted]:
    """Name the columns that are in none of the databases where they may be.

    A model that is swapped for another has no table.
    """
    missing = {(column.database, str(column)) for column in not_there}
    there = {str(column) for column in declared if (column.database, str(column)) not in missing}
    nowhere = {str(column): column for column in not_there if str(column) not in there}
    for column in nowhere.values():
        alias = router.db_for_write(column.model)
        if not column.model._meta.swapped and database in (None, alias):
            yield NotCounted(alias, column.location, f"{column} has no table in any database")


def _others(
    alias: str, declared: Iterable[Column], counted: Iterable[Column]
) -> Iterator[NotCounted]:
    """Name the tables that no model declares, and that hold values under known key versions."""
    ask = database_of(alias)
    relations = [_relation(ask, column) for column in counted]
    seen = {ask.identity(relation) for relation in relations}
    oids = {relation.oid for relation in relations} - {0}
    tables, columns = {each.table_sql for each in declared}, _by_name(declared)
    others = [
        relation
        for relation in ask.others(set(columns), tables)
        if ask.identity(relation) not in seen
    ]
    # Partitions of what was counted are counted, where their rows are here.
    parts = [each for each in others if not oids.isdisjoint(each.ancestors)]
    apart = [each for each in others if oids.isdisjoint(each.ancestors)]
    names = {(ask.name(each.table_sql), ask.name(each.column_sql)) for each in declared}
    groups = grouped_each([_as_column(ask, columns, relation) for relation in apart])
    named = (label for each in groups for label in each or ())
    known = known_ids(label for label in named if isinstance(label, bytes))
    for relation, counts in zip(apart, groups, strict=True):
        reason = _held(counts, known, _what(relation, names))
        if reason:
            yield NotCounted(alias, str(relation), reason)
    for relation in parts:
        if relation.kind is Kind.FOREIGN_TABLE:
            yield NotCounted(alias, str(relation), relation.kind.value)


def _by_name(columns: Iterable[Column]) -> dict[str, Column]:
    return {each.column_sql: each for each in columns}


def _as_column(ask: Database, declared: dict[str, Column], relation: Relation) -> Column:
    """Return a relation as a column whose values are of the same kind as those of a declared one.

    That of the same name, where there is one.
    """
    name = ask.quote(relation.column)
    table_sql = f"{ask.quote(relation.schema, relation.table)}{relation.with_history}"
    like = declared.get(name) or next(iter(declared.values()))
    return replace(like, table_sql=table_sql, column_sql=name)


def _relation(ask: Database, column: Column) -> Relation:
    if column.relation is not UNLOCATED:
        return column.relation
    return Relation(table=ask.name(column.table_sql), column=ask.name(column.column_sql))


def _what(relation: Relation, names: Collection[tuple[str, str]]) -> str:
    """Say what a column is that is not counted, where these are the names of those that are."""
    if (relation.table, relation.column) in names and relation.schema:
        return 'left out by ENVELOPE_FIELDS["SCHEMAS"]'
    if any(relation.table == table for table, _ in names):
        return "a column that no model declares, such as one whose table is not migrated yet"
    return "a table that no model declares, such as a detached partition or a copy"


def _held(counts: Grouped | None, known: set[bytes], what: str) -> str:
    """Say what a relation holds under known key versions; empty where it holds nothing.

    Args:
        counts: of its values by key version; None where they could not be counted.
        known: the ids of the key versions.
        what: what it is.
    """
    if counts is None:
        return f"{what}; it could not be counted"
    values = sum(values for version_id, values in counts.items() if version_id in known)
    return f"{what}; it holds {values:,} values under key versions that are known" if values else ""


__all__ = ["NotCounted", "in_clear", "in_other_formats", "not_counted", "undeclared"]
