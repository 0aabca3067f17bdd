"""SQLite: one file, where every row is seen, and one lock for all who write.

Triggers of tables to which rows are only added: an event is let go only together with its
successors and the head, because of the foreign keys between them; where a program does not ask for
foreign keys, the trigger refuses DELETE. REPLACE, which asks neither, is refused as an INSERT
where there is an event already.
"""

from collections.abc import Collection, Iterable
from typing import ClassVar

from django.db import Error

from envelope_fields.databases.base import Database
from envelope_fields.databases.relations import AppendOnly, Kind, Relation


class SQLite(Database):
    """SQLite, which does not tell cases apart in names, and keeps bytes in columns of any type."""

    ALTERS_BY_COPYING: ClassVar = True
    WITH_WRITING: ClassVar = 1.6
    WHERE_LOCKED: ClassVar = (
        " SQLite has one lock for all who write: have each transaction wait for it when it begins, "
        'with "transaction_mode": "IMMEDIATE" in the OPTIONS of the database.'
    )
    HOLDS: ClassVar = "instr({column}, %s) > 0"
    EXACTLY: ClassVar = "%(expressions)s COLLATE BINARY"
    # Text in the form that Django stores; a percent sign stands doubled in a template.
    DAYS_LATER: ClassVar = (
        "strftime('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', %(expressions)s || ' days')",
        ", ",
    )

    @classmethod
    def says_no_table(cls, error: Error) -> bool:
        return str(error).startswith("no such table")

    @classmethod
    def says_no_column(cls, error: Error) -> bool:
        return "no such column" in str(error) or "has no column named" in str(error)

    @classmethod
    def says_locked(cls, error: Error) -> bool:
        return "is locked" in str(error)

    @classmethod
    def says_unreadable(cls, error: Error) -> bool:
        return str(error).startswith("Could not decode to UTF-8")

    def lock_for_writing(self, table: str) -> None:
        # A transaction that has read before another one wrote may not write; a first write waits.
        self.execute(f"DELETE FROM {self.quote(table)} WHERE 0")

    def sees_the_past(self) -> bool:
        # Without a write-ahead log nothing is committed while a transaction reads.
        return self.fetch("PRAGMA journal_mode") == [("wal",)]

    def writers(self, tables: Collection[str]) -> Iterable[tuple[str, str]]:
        """Take the one lock, which waits for a writer; a transaction of ours may have it."""
        if not self.connection.in_atomic_block and self.connection.get_autocommit():
            self.execute("BEGIN IMMEDIATE", "ROLLBACK")
        return ()

    def older_transactions(self, seconds: float) -> Iterable[tuple[str, str]]:
        return self.writers(())

    def _creating(self, rows: AppendOnly) -> Iterable[str]:
        name, table = rows.triggers, rows.table
        refuse = f"BEGIN SELECT RAISE(ABORT, '{rows.refusal}'); END"
        changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in rows.columns)
        same = (f"{column} = NEW.{column}" for column in (rows.number, rows.previous))
        return (
            f"CREATE TRIGGER {name}_update BEFORE UPDATE ON {table} WHEN {changed} {refuse}",
            f"CREATE TRIGGER {name}_delete BEFORE DELETE ON {table} "
            f"WHEN (SELECT foreign_keys FROM pragma_foreign_keys) = 0 {refuse}",
            f"CREATE TRIGGER {name}_insert BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {' OR '.join(same)}) {refuse}",
        )

    def _dropping(self, rows: AppendOnly) -> Iterable[str]:
        names = ("update", "delete", "insert")
        return (f"DROP TRIGGER IF EXISTS {rows.triggers}_{name}" for name in names)

    def _triggers(self, rows: AppendOnly) -> int:
        [[found]] = self.fetch(
            "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s "
            "AND name LIKE %s",
            [rows.table, f"{rows.triggers}_%"],
        )
        return int(found)

    def doubtful(self, names: Collection[tuple[str, str]]) -> list[Relation]:
        # A temporary table or view of this connection stands in front of a table of its name.
        views = self.fetch(
            "SELECT lower(name) FROM sqlite_master WHERE type = 'view' "
            "UNION SELECT lower(name) FROM sqlite_temp_master"
        )
        found = ((self.name(table), self.name(column)) for table, column in names)
        return [
            Relation(table=table, column=column, kind=Kind.VIEW)
            for table, column in found
            if (table.lower(),) in views
        ]

    def others(self, names: Collection[str]) -> list[Relation]:
        wanted = {self.name(name).lower() for name in names}
        found = self.fetch(
            "SELECT tables.name, columns.name, columns.type FROM sqlite_master AS tables, "
            "pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' "
            "AND tables.sql NOT LIKE 'CREATE VIRTUAL %' "
            "ORDER BY tables.name, columns.name"
        )
        return [
            Relation(table=table, column=column)
            for table, column, kind in found
            if column.lower() in wanted or kind.lower() in ("blob", "")
        ]
