"""Columns of texts that a database gives back otherwise than they were written."""

from __future__ import annotations

from envelope_fields.databases import database

_SCHEMA = {"postgresql": "ANY(current_schemas(false))", "mysql": "DATABASE()"}


def padded_columns(table: str, using: str) -> set[str]:
    """Return the columns of a table that have a fixed width: spaces at an end come or go.

    Args:
        table: its name, as models have it.
        using: the database.
    """
    ask = database(using)
    schema = _SCHEMA.get(ask.connection.vendor)
    if schema is None:
        return set()  # SQLite keeps texts as they are, whatever the column is
    rows = ask.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s "
        f"AND table_schema = {schema} AND data_type IN ('char', 'character')",
        [ask.name(ask.connection.ops.quote_name(table))],
    )
    return {column for (column,) in rows}
