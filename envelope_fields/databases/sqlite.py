"""SQLite: one file, where every row is seen; only views may stand under a table's name."""

from __future__ import annotations

from collections.abc import Collection

from envelope_fields.databases.base import Database
from envelope_fields.databases.relations import Kind, Relation


class SQLite(Database):
    """SQLite, which does not tell cases apart in names, and keeps bytes in columns of any type."""

    def doubtful(self, names: Collection[tuple[str, str]]) -> list[Relation]:
        views = self.fetch("SELECT lower(name) FROM sqlite_master WHERE type = 'view'")
        found = ((self.name(table), self.name(column)) for table, column in names)
        return [
            Relation(table=table, column=column, kind=Kind.VIEW)
            for table, column in found
            if (table.lower(),) in views
        ]

    def others(self, columns: Collection[str], tables: Collection[str]) -> list[Relation]:
        wanted, theirs = ({self.name(name).lower() for name in each} for each in (columns, tables))
        found = self.fetch(
            "SELECT tables.name, columns.name, columns.type FROM sqlite_master AS tables, "
            "pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' "
            "AND tables.sql NOT LIKE 'CREATE VIRTUAL %' "
            "ORDER BY tables.name, columns.name"
        )
        return [
            Relation(table=table, column=column)
            for table, column, kind in found
            if column.lower() in wanted or (kind.lower() == "blob" and table.lower() in theirs)
        ]
