"""Columns that a database writes by itself: by foreign keys, or where it pads texts."""

from typing import NamedTuple

from envelope_fields.databases import database

_HARMLESS = ("NO ACTION", "RESTRICT", "CASCADE")  # when a row is deleted: its own goes with it

_POSTGRESQL_ACTION = (
    "CASE {} WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' "
    "WHEN 'r' THEN 'RESTRICT' ELSE 'NO ACTION' END"
)
# By vendor: the column, and what is done when the row is updated and when it is deleted.
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
# By vendor: the schema that the name of a table means. SQLite keeps texts as they are.
_SCHEMAS = {"postgresql": "ANY(current_schemas(false))", "mysql": "DATABASE()"}


class Written(NamedTuple):
    """A column that the database writes, and by which action of its foreign key."""

    column: str
    action: str


def written_by_foreign_keys(table: str, using: str) -> list[Written]:
    """Return the columns of a table that the database writes by itself; none without the table.

    Args:
        table: its name, as models have it.
        using: the database.
    """
    ask = database(using)
    query = _ACTIONS.get(ask.connection.vendor)
    if query is None:
        return []
    quoted = ask.connection.ops.quote_name(table)
    found = []
    for column, on_update, on_delete in ask.fetch(
        query, [quoted if ask.connection.vendor == "postgresql" else ask.name(quoted)]
    ):
        if on_update not in ("NO ACTION", "RESTRICT"):
            found.append(Written(column, f"ON UPDATE {on_update}"))
        if on_delete not in _HARMLESS:
            found.append(Written(column, f"ON DELETE {on_delete}"))
    return found


def padded_columns(table: str, using: str) -> set[str]:
    """Return the columns of a table that have a fixed width: spaces at an end come or go.

    Args:
        table: its name, as models have it.
        using: the database.
    """
    ask = database(using)
    schema = _SCHEMAS.get(ask.connection.vendor)
    if schema is None:
        return set()
    rows = ask.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s "
        f"AND table_schema = {schema} AND data_type IN ('char', 'character')",
        [ask.name(ask.connection.ops.quote_name(table))],
    )
    return {column for (column,) in rows}
