"""What may hold values and is not an encrypted column that can be counted for certain: by name."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from django.apps import apps
from django.db import DatabaseError, Error, router, transaction

from envelope_fields.census.columns import CensusFailed, Column, located, stored_columns
from envelope_fields.census.values import Grouped, by_version, grouped, groups_sql
from envelope_fields.conf import configuration
from envelope_fields.databases import (
    UNLOCATED,
    Database,
    Kind,
    Relation,
    database as database_of,
    in_queries,
)
from envelope_fields.databases.errors import says_no_table
from envelope_fields.databases.tables import absent
from envelope_fields.databases.transactions import waiting_briefly
from envelope_fields.exceptions import quantity
from envelope_fields.models import KeyState, MasterKeyVersion

COLUMNS_IN_A_QUERY = 50

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
    name; and, where they hold values under key versions that are known, binary columns that no
    model declares (a detached partition, a copy, a materialized view, a field that was removed),
    or that share a name with a column or a table of ours (a schema that the settings leave out).
    Each of these columns is read. Whatever makes a count wrong in a way that cannot be named so
    makes `census` fail instead.

    Args:
        database: look in this one alone.

    Raises:
        CensusFailed: a database could not be looked at.
    """
    found: list[NotCounted] = []
    missing: list[Column] = []
    with failing():
        for alias, here, there in _by_database(database):
            missing += _absent(alias, there)
            found += _doubtful(alias, here, there)
            found += _others(alias, here, there)
            found += _unseen(alias)
    return [*found, *_nowhere(stored_columns(database), missing, database)]


def undeclared(database: str | None = None) -> list[NotCounted]:
    """Name, of what is not counted, the tables that no model declares and that hold values.

    Arguments and errors are those of `not_counted`.
    """
    with failing():
        return [found for each in _by_database(database) for found in _others(*each)]


def _by_database(database: str | None) -> Iterator[tuple[str, list[Column], list[Column]]]:
    """Yield each database with the columns that are declared, and those that are there."""
    for alias, columns in groupby(stored_columns(database), key=lambda each: each.database):
        here = list(columns)
        yield alias, here, list(located(here))


@contextmanager
def failing() -> Iterator[None]:
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
    columns = {each.column_sql: each for each in declared}
    names = {(ask.name(each.table_sql), ask.name(each.column_sql)) for each in declared}
    ours, of_fields = {name for pair in names for name in pair}, _of_fields()
    others = [
        each
        for each in ask.others(set(columns))
        if ask.identity(each) not in seen
        and (not ours.isdisjoint((each.table, each.column)) or _is_unknown(each, of_fields))
    ]
    # Partitions of what was counted are counted, where their rows are here.
    parts = [each for each in others if not oids.isdisjoint(each.ancestors)]
    apart = [each for each in others if oids.isdisjoint(each.ancestors)]
    with waiting_briefly(alias):  # these are others', who may have locked them for hours
        groups = _grouped_each([_as_column(ask, columns, relation) for relation in apart])
    named = (label for each in groups for label in each or ())
    known = _known_ids(label for label in named if isinstance(label, bytes))
    for relation, counts in zip(apart, groups, strict=True):
        reason = _held(counts, known, _what(relation, names))
        if reason:
            yield NotCounted(alias, str(relation), reason)
    for relation in parts:
        if relation.kind is Kind.FOREIGN_TABLE:
            yield NotCounted(alias, str(relation), relation.kind.value)


def _is_unknown(relation: Relation, of_fields: Collection[tuple[str, str]]) -> bool:
    """Whether no field says what a column stores, and it can be read here."""
    is_here = relation.may_read and relation.kind is not Kind.FOREIGN_TABLE
    return is_here and (relation.table.lower(), relation.column.lower()) not in of_fields


def _of_fields() -> set[tuple[str, str]]:
    """Return the tables and columns of all fields, in lower case."""
    return {
        (model._meta.db_table.lower(), str(field.column).lower())
        for model in apps.get_models(include_auto_created=True, include_swapped=True)
        for field in model._meta.local_concrete_fields
    }


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
    if relation.kind is Kind.MATERIALIZED_VIEW:
        return str(relation.kind.value)
    if any(relation.table == table for table, _ in names):
        return "a column that no model declares, such as one whose table is not migrated yet"
    return "a table that no model declares, such as a detached partition or a copy"


def _held(counts: Grouped | None, known: set[bytes], what: str) -> str:
    """Say what a relation holds under known key versions; empty where it holds nothing."""
    if counts is None:
        return f"{what}; it could not be counted"
    values = sum(values for version_id, values in counts.items() if version_id in known)
    held = f"it holds {quantity(values, 'value')} under key versions that are known"
    return f"{what}; {held}" if values else ""


def _known_ids(version_ids: Iterable[bytes]) -> set[bytes]:
    """Return those of some ids that are of key versions with their material."""
    using, wanted = configuration().database, sorted(set(version_ids))
    rows = MasterKeyVersion.objects.using(using).exclude(state=KeyState.DESTROYED)
    rows = rows.exclude(master_key__state=KeyState.DESTROYED).order_by()
    found: set[bytes] = set()
    if not wanted:
        return found
    try:
        with transaction.atomic(using=using):
            for some in in_queries(wanted):
                there = rows.filter(version_id__in=some).values_list("version_id", flat=True)
                found.update(map(bytes, there))
    except DatabaseError as error:
        if not says_no_table(error):
            raise
    return found


def _grouped_each(columns: Sequence[Column]) -> list[Grouped | None]:
    """Count the values of columns of one database, in as few statements as it can be asked in.

    Returns:
        What `grouped` returns for each; None for a column that could not be counted, and no value
        for one whose table is not there.
    """
    found: list[Grouped | None] = []
    for start in range(0, len(columns), COLUMNS_IN_A_QUERY):
        some = columns[start : start + COLUMNS_IN_A_QUERY]
        try:
            found += _grouped_at_once(some)
        except DatabaseError:  # one of them cannot be counted: which?
            found += map(_grouped_if_possible, some)
    return found


def _grouped_at_once(columns: Sequence[Column]) -> list[Grouped]:
    selects = [
        f"SELECT {index} AS which, counts.* FROM ({groups_sql(column)}) AS counts"  # noqa: S608
        for index, column in enumerate(columns)
    ]
    ask, groups = database_of(columns[0].database), defaultdict[int, list[Any]](list)
    with ask.seeing_all_rows():
        for which, *group in ask.fetch(" UNION ALL ".join(selects)):
            groups[which].append(group)
    return [by_version(column, groups[index]) for index, column in enumerate(columns)]


def _grouped_if_possible(column: Column) -> Grouped | None:
    try:
        return grouped(column)
    except DatabaseError as error:
        return Counter() if says_no_table(error) else None


__all__ = ["NotCounted", "not_counted", "undeclared"]
