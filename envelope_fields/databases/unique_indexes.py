"""The unique indexes that a table has, and whether they keep it unique."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from django.db import NotSupportedError, connections

from envelope_fields.databases import database

# What CREATE INDEX CONCURRENTLY has left behind is not valid, and holds for no row.
_ON_POSTGRESQL = """
    SELECT relation.relname, columns.attname, indexes.indpred IS NOT NULL,
        indexes.indisvalid AND indexes.indisready AND indexes.indislive
    FROM pg_catalog.pg_index AS indexes
    JOIN pg_catalog.pg_class AS relation ON relation.oid = indexes.indexrelid
    JOIN pg_catalog.pg_attribute AS columns ON columns.attrelid = indexes.indrelid
        AND columns.attnum = ANY(indexes.indkey[0:indexes.indnkeyatts - 1])
    WHERE indexes.indrelid = to_regclass(%s) AND indexes.indisunique AND indexes.indexprs IS NULL
"""
_ON_MYSQL = """
    SELECT index_name, column_name, FALSE, TRUE FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = %s AND NOT non_unique AND sub_part IS NULL
"""
_ON_SQLITE = """
    SELECT indexes.name, columns.name, indexes.partial, 1
    FROM pragma_index_list(%s) AS indexes, pragma_index_info(indexes.name) AS columns
    WHERE indexes."unique"
"""
_QUERIES = {"postgresql": _ON_POSTGRESQL, "mysql": _ON_MYSQL, "sqlite": _ON_SQLITE}


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A unique index of a table.

    Attributes:
        name: its name in the database.
        columns: the names of its columns.
        is_partial: whether it has a condition.
        is_valid: whether it holds for all rows.
    """

    name: str
    columns: frozenset[str]
    is_partial: bool
    is_valid: bool


def unique_indexes(table_sql: str, using: str) -> list[UniqueIndex]:
    """Return the unique indexes of a table.

    Args:
        table_sql: its name as SQL quotes it, with the schema before it where it takes that.
        using: the alias of its database.

    Raises:
        DatabaseError: the database could not be asked.
    """
    ask, vendor = database(using), connections[using].vendor
    if vendor not in _QUERIES:
        raise NotSupportedError(f"what {using!r} keeps unique cannot be asked")
    table = table_sql if vendor == "postgresql" else ask.name(table_sql)
    columns: defaultdict[tuple[str, bool, bool], set[str]] = defaultdict(set)
    for name, column, is_partial, is_valid in ask.fetch(_QUERIES[vendor], [table]):
        columns[name, bool(is_partial), bool(is_valid)].add(column)
    return [
        UniqueIndex(name, frozenset(found), is_partial, is_valid)
        for (name, is_partial, is_valid), found in columns.items()
    ]
