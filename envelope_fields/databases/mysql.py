"""MariaDB, and MySQL where it says the same: tables that keep their history, and XA.

Triggers of tables to which rows are only added: DELETE is refused unless FOREIGN_KEY_CHECKS is
off, as Django's `flush` has it. TRUNCATE is refused by the foreign keys of the head row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db import DatabaseError

from envelope_fields.databases.base import AppendOnly, Database, as_django_has_it
from envelope_fields.databases.relations import Kind, Relation

_KINDS = {"VIEW": Kind.VIEW, "SYSTEM VERSIONED": Kind.VERSIONED_TABLE}
_ELSEWHERE = ("FEDERATED", "CONNECT", "SPIDER")  # engines whose rows are on another server
_BINARY = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")


class MySQL(Database):
    """A schema is a database here, so that there is one to a connection."""

    NO_TABLE: ClassVar = frozenset({1146})
    NO_COLUMN: ClassVar = frozenset({1054})
    # lock wait timeout, deadlock, record changed since it was read
    LOCKED: ClassVar = frozenset({1205, 1213, 1020})
    SLOW: ClassVar = frozenset({1969, 3024})  # max_statement_time, and max_execution_time of MySQL
    REFUSED: ClassVar = frozenset({1644})  # SIGNAL
    WITH_WRITING: ClassVar = 5.0
    COMMITS_BESIDE: ClassVar = True
    LOCK_TIMEOUT: ClassVar = (
        "SET SESSION innodb_lock_wait_timeout = {seconds}",
        "SET SESSION innodb_lock_wait_timeout = @@GLOBAL.innodb_lock_wait_timeout",
    )
    HOLDS: ClassVar = "LOCATE(BINARY %s, {column}) > 0"
    TRIGGERS: ClassVar = 2

    def reads_uncommitted(self) -> bool:
        return self.isolation_level() == "read uncommitted"

    def indexed_bytes(self, length: int) -> str | None:
        # There is no plain unique index on a longblob.
        return f"varbinary({length})"

    def _creating(self, rows: AppendOnly) -> Iterable[str]:
        refuse = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{rows.refusal}'; END IF"
        unchanged = " AND ".join(f"OLD.{column} <=> NEW.{column}" for column in rows.columns)
        return (
            f"CREATE TRIGGER {rows.triggers}_update BEFORE UPDATE ON {rows.table} FOR EACH ROW "
            f"IF NOT ({unchanged}) THEN {refuse}",
            f"CREATE TRIGGER {rows.triggers}_delete BEFORE DELETE ON {rows.table} FOR EACH ROW "
            f"IF @@SESSION.foreign_key_checks THEN {refuse}",
        )

    def _dropping(self, rows: AppendOnly) -> Iterable[str]:
        return (f"DROP TRIGGER IF EXISTS {rows.triggers}_{name}" for name in ("update", "delete"))

    def _triggers(self, rows: AppendOnly) -> int:
        [[found]] = self.fetch(
            "SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE() "
            "AND event_object_table = %s AND trigger_name LIKE %s",
            [rows.table, f"{rows.triggers}_%"],
        )
        return int(found)

    def relations(self, names: Collection[tuple[str, str]]) -> list[Relation]:
        found = self.fetch(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_type = 'SYSTEM VERSIONED'"
        )
        return self._under(names, {table: Kind.VERSIONED_TABLE for (table,) in found})

    def tables(self, names: Collection[str]) -> list[Relation]:
        return self.relations([(name, "") for name in names])

    def doubtful(self, names: Collection[tuple[str, str]]) -> list[Relation]:
        doubtful = (Kind.VIEW, Kind.FOREIGN_TABLE)
        return self._under(names, {name: kind for name, kind in self._kinds() if kind in doubtful})

    def _under(self, names: Collection[tuple[str, str]], kinds: dict[str, Kind]) -> list[Relation]:
        folded = {self._folded(table): kind for table, kind in kinds.items()}
        found = ((self.name(table), self.name(column)) for table, column in names)
        return [
            Relation(table=table, column=column, kind=folded[self._folded(table)])
            for table, column in found
            if self._folded(table) in folded
        ]

    def others(self, columns: Collection[str], tables: Collection[str]) -> list[Relation]:
        kinds = dict(self._kinds())
        names = [list(map(self.name, each)) for each in (columns, tables)]
        marks, more, binary = (", ".join(["%s"] * len(each)) for each in (*names, _BINARY))
        found = self.fetch(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() "
            f"AND (column_name IN ({marks}) OR table_name IN ({more})) "
            f"AND data_type IN ({binary}) ORDER BY table_name, column_name",
            [*names[0], *names[1], *_BINARY],
        )
        return [
            Relation(table=table, column=column, kind=kinds.get(table, Kind.TABLE))
            for table, column in found
            if kinds.get(table) != Kind.VIEW
        ]

    def _kinds(self) -> list[tuple[str, Kind]]:
        tables = self.fetch(
            "SELECT table_name, table_type, engine FROM information_schema.tables "
            "WHERE table_schema = DATABASE()"
        )
        return [(table, _kind(table_type, engine)) for table, table_type, engine in tables]

    def _folded(self, table: str) -> str:
        # The name of a table is that of a file, and some file systems do not tell cases apart.
        return table.lower() if self.connection.features.ignores_table_name_case else table

    def identity(self, relation: Relation) -> object:
        return self._folded(relation.table), relation.column.lower()

    def now(self) -> datetime:
        [[moment]] = self.fetch("SELECT UTC_TIMESTAMP(6)")
        return as_django_has_it(moment.replace(tzinfo=UTC))

    def unseen(self) -> str:
        try:
            prepared = self.fetch("XA RECOVER")
        except DatabaseError:  # MySQL asks for a right
            return (
                "whether a transaction of this server is prepared, by XA, was not looked at: this "
                "user may not"
            )
        if not prepared:
            return ""
        return (
            "a transaction of this server is prepared (XA RECOVER lists it), and what it wrote "
            "cannot be seen"
        )


def _kind(table_type: str, engine: Any) -> Kind:
    if str(engine).upper() in _ELSEWHERE:
        return Kind.FOREIGN_TABLE
    return _KINDS.get(table_type, Kind.TABLE)
