"""Questions about a table: whether it is there, what is in it, and what the database does with it.

It keeps columns unique, and writes some by itself: by foreign keys, or where it pads texts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import DatabaseError, NotSupportedError, connections
from django.db.models import Field, Model, QuerySet

from envelope_fields.databases import RowsHidden, database
from envelope_fields.databases.errors import says_no_column, says_no_table


def has_rows(model: type[Model], using: str) -> bool:
    """Whether the table of a model exists and has rows, or may have some that are hidden.

    Rows of the past count, where the table keeps them: a new column is theirs, too.
    """
    try:
        exist = bool(_asked(model, using, lambda rows: rows.exists()))
        return exist or count_with_history(model, using) > 0
    except RowsHidden:
        return not database(using).is_empty_for_certain(_table_sql(model, using))


def absent(tables: Collection[str], using: str) -> set[str]:
    """Return those of some tables, as SQL quotes their names, that are not in a database.

    It is asked once for all. Only about what it does not list is it asked again: a name may mean
    something that no list shows, such as a table of another schema.
    """
    ask = database(using)
    with ask.connection.cursor() as cursor:
        listed = ask.connection.introspection.table_names(cursor, include_views=True)
    fold = str.lower if ask.connection.features.ignores_table_name_case else str
    names, there = {table: ask.names(table) for table in tables}, set(map(fold, listed))
    return {
        table
        for table, (*schema, name) in names.items()
        if (schema or fold(name) not in there) and not has_table(table, using)
    }


def has_table(table_sql: str, using: str) -> bool:
    """Whether there is a table by a name, as SQL quotes it, as far as that can be asked."""
    error = _error_of(f"SELECT 1 FROM {table_sql} WHERE 1 = 0", using)
    return error is None or not says_no_table(error)


def has_column(table_sql: str, column_sql: str, using: str) -> bool:
    """Whether a table has a column, by names as SQL quotes them, as far as that can be asked."""
    # With the table: SQLite takes a quoted name that is not a column for a text.
    error = _error_of(f"SELECT stored.{column_sql} FROM {table_sql} AS stored WHERE 1 = 0", using)
    return error is None or not (says_no_column(error) or says_no_table(error))


def _error_of(sql: str, using: str) -> DatabaseError | None:
    ask = database(using)
    try:
        with ask.seeing_all_rows():
            ask.fetch(sql)
    except DatabaseError as error:
        return error
    return None


def count_values(model: type[Model], name: str, using: str) -> int:
    """Return how many rows have a value in the column of a field: 0 without the table.

    Rows of the past count, where the table keeps them.

    Raises:
        RowsHidden: there may be more.
    """
    field: Any = model._meta.get_field(name)
    column_sql = connections[using].ops.quote_name(field.column)
    # Not by a lookup: one of a field under conversion asks the column that is read now.
    counting = f"SELECT count(stored.{column_sql}) FROM {_table_sql(model, using)} AS stored"
    present = _asked(model, using, lambda _: database(using).fetch(counting)[0][0])
    return max(present, count_with_history(model, using, column_sql))


def count_with_history(model: type[Model], using: str, column_sql: str = "*") -> int:
    """Return how many rows, or values in a column, a table that keeps its history has ever had.

    0 where it keeps none.
    """
    ask, table_sql = database(using), _table_sql(model, using)
    counts = [
        ask.fetch(f"SELECT count({column_sql}) FROM {table_sql}{each.with_history}")
        for each in ask.tables([table_sql])
        if each.with_history
    ]
    return sum(int(rows) for [(rows,)] in counts)


def lacks_cast(was: Field[Any, Any], becomes: Field[Any, Any], using: str) -> bool:
    """Whether a column cannot be altered to the type of another field, whatever is in it.

    A reference whose model is not known yet has no type, and is asked about again.
    """
    connection = connections[using]
    if any(each.remote_field and not hasattr(each, "model") for each in (was, becomes)):
        return False
    there, wanted = (str(each.db_type(connection)) for each in (was, becomes))
    return database(using).lacks_cast(there, wanted)


def _asked(model: type[Model], using: str, question: Any) -> int:
    # Asking the table itself is the one way that knows how the database folds and quotes names.
    ask = database(using)
    try:
        with ask.seeing_all_rows():
            return int(question(QuerySet(model, using=using)))
    except DatabaseError as error:
        if says_no_table(error):
            return 0
        ask.refuse_hidden(_table_sql(model, using))
        raise


def _table_sql(model: type[Model], using: str) -> str:
    return connections[using].ops.quote_name(model._meta.db_table)


# -- Unique indexes --------------------------------------------------------------------------------


_UNIQUE = {
    # What CREATE INDEX CONCURRENTLY has left behind is not valid, and holds for no row.
    "postgresql": """
    SELECT relation.relname, columns.attname, indexes.indpred IS NOT NULL,
        indexes.indisvalid AND indexes.indisready AND indexes.indislive
    FROM pg_catalog.pg_index AS indexes
    JOIN pg_catalog.pg_class AS relation ON relation.oid = indexes.indexrelid
    JOIN pg_catalog.pg_attribute AS columns ON columns.attrelid = indexes.indrelid
        AND columns.attnum = ANY(indexes.indkey[0:indexes.indnkeyatts - 1])
    WHERE indexes.indrelid = to_regclass(%s) AND indexes.indisunique AND indexes.indexprs IS NULL
""",
    "mysql": """
    SELECT index_name, column_name, FALSE, TRUE FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = %s AND NOT non_unique AND sub_part IS NULL
""",
    "sqlite": """
    SELECT indexes.name, columns.name, indexes.partial, 1
    FROM pragma_index_list(%s) AS indexes, pragma_index_info(indexes.name) AS columns
    WHERE indexes."unique"
""",
}


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A unique index of a table, and the names of its columns."""

    name: str
    columns: frozenset[str]
    is_partial: bool  # it has a condition
    is_valid: bool  # it holds for all rows


def unique_indexes(table_sql: str, using: str) -> list[UniqueIndex]:
    """Return the unique indexes of a table.

    Args:
        table_sql: its name as SQL quotes it, with the schema before it where it takes that.
        using: the alias of its database.

    Raises:
        DatabaseError: the database could not be asked.
    """
    if connections[using].vendor not in _UNIQUE:
        raise NotSupportedError(f"what {using!r} keeps unique cannot be asked")
    columns: defaultdict[tuple[str, bool, bool], set[str]] = defaultdict(set)
    for name, column, is_partial, is_valid in _catalogued(_UNIQUE, table_sql, using):
        columns[name, bool(is_partial), bool(is_valid)].add(column)
    return [
        UniqueIndex(name, frozenset(found), is_partial, is_valid)
        for (name, is_partial, is_valid), found in columns.items()
    ]


def _catalogued(queries: dict[str, str], table_sql: str, using: str) -> list[tuple[Any, ...]]:
    """Return what the catalogue says of a table; nothing where the vendor's cannot be asked."""
    ask, vendor = database(using), connections[using].vendor
    table = table_sql if vendor == "postgresql" else ask.name(table_sql)
    return ask.fetch(queries[vendor], [table]) if vendor in queries else []


# -- Columns that the database writes by itself ----------------------------------------------------


_HARMLESS = ("NO ACTION", "RESTRICT", "CASCADE")  # when a row is deleted: its own goes with it

_POSTGRESQL_ACTION = (
    "CASE {} WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' "
    "WHEN 'r' THEN 'RESTRICT' ELSE 'NO ACTION' END"
)
# The column, and what is done when the row is updated and when it is deleted.
_ACTIONS = {
    "postgresql": (
        f"SELECT attname, {_POSTGRESQL_ACTION.format('confupdtype')}, "
        f"{_POSTGRESQL_ACTION.format('confdeltype')} FROM pg_catalog.pg_constraint "
        "JOIN pg_catalog.pg_attribute ON attrelid = conrelid AND attnum = ANY(conkey) "
        "WHERE contype = 'f' AND conrelid = to_regclass(%s)"
    ),
    "mysql": (
        "SELECT used.column_name, rules.update_rule, rules.delete_rule "
        "FROM information_schema.referential_constraints AS rules "
        "JOIN information_schema.key_column_usage AS used "
        "USING (constraint_schema, constraint_name, table_name) "
        "WHERE rules.constraint_schema = DATABASE() AND rules.table_name = %s"
    ),
    "sqlite": 'SELECT "from", on_update, on_delete FROM pragma_foreign_key_list(%s)',
}
# The schema that the name of a table means. SQLite keeps texts as they are.
_SCHEMAS = {"postgresql": "ANY(current_schemas(false))", "mysql": "DATABASE()"}


class Written(NamedTuple):
    """A column that the database writes, and by which action of its foreign key."""

    column: str
    action: str


def written_by_foreign_keys(table: str, using: str) -> list[Written]:
    """Return the columns of a table, by its name in models, that the database writes by itself.

    None without the table.
    """
    found, table_sql = list[Written](), connections[using].ops.quote_name(table)
    for column, on_update, on_delete in _catalogued(_ACTIONS, table_sql, using):
        if on_update not in ("NO ACTION", "RESTRICT"):
            found.append(Written(column, f"ON UPDATE {on_update}"))
        if on_delete not in _HARMLESS:
            found.append(Written(column, f"ON DELETE {on_delete}"))
    return found


def padded_columns(table: str, using: str) -> set[str]:
    """Return the columns of a table, by its name in models, of fixed width: they pad texts."""
    types = column_types(table, using)
    return {column for column, kind in types.items() if kind in ("char", "character")}


def column_types(table: str, using: str) -> dict[str, str]:
    """Return the types of a table's columns, by its name in models, where they limit anything."""
    ask = database(using)
    schema = _SCHEMAS.get(ask.connection.vendor)
    if schema is None:
        return {}
    rows = ask.fetch(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s "
        f"AND table_schema = {schema}",
        [ask.name(ask.connection.ops.quote_name(table))],
    )
    return {column: kind for column, kind in rows}  # noqa: C416 - rows are not pairs to mypy
