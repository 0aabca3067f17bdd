"""MariaDB, and MySQL where it says the same: tables that keep their history, and XA.

Triggers of tables to which rows are only added: DELETE is refused unless FOREIGN_KEY_CHECKS is
off, as Django's `flush` has it. TRUNCATE is refused by the foreign keys of the head row.
"""

import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from random import uniform
from typing import Any, ClassVar

from django.db import DatabaseError

from envelope_fields.databases.base import Database, as_django_has_it
from envelope_fields.databases.relations import AppendOnly, Kind, Relation

_KINDS = {"VIEW": Kind.VIEW, "SYSTEM VERSIONED": Kind.VERSIONED_TABLE}
_REMOTE = ("FEDERATED", "CONNECT", "SPIDER")  # engines whose rows are on another server
_BINARY = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
LOOKS = 10  # at most, for transactions that are shown as they are now

# Ours is one of them, with a statement of this very look, if they are shown as they are now.
_OPEN = """
    SELECT shown.id = CONNECTION_ID(), trx.trx_query LIKE %s,
        CONCAT(trx.trx_mysql_thread_id, ' ', trx.trx_started), trx.trx_mysql_thread_id
    FROM information_schema.innodb_trx AS trx
    JOIN information_schema.processlist AS shown ON shown.id = trx.trx_mysql_thread_id
    WHERE shown.id = CONNECTION_ID() OR shown.db = DATABASE() AND
"""
_WRITERS = f"{_OPEN} trx.trx_rows_modified > 0"
# It shows their beginnings in whole seconds.
_OLDER = f"{_OPEN} TIMESTAMPDIFF(SECOND, trx.trx_started, NOW()) + 1 >= %s"
_NO_RIGHT = 1227
# Versions name it by one, the other, or both.
_ISOLATION = (
    "SHOW SESSION VARIABLES WHERE variable_name IN ('tx_isolation', 'transaction_isolation')"
)


class ShownAsBefore(DatabaseError):
    """The server went on showing transactions as they were at an earlier time."""


class MySQL(Database):
    """A schema is a database here, so that there is one to a connection."""

    NO_TABLE: ClassVar = frozenset({1146})
    NO_COLUMN: ClassVar = frozenset({1054})
    # lock wait timeout, deadlock, record changed since it was read
    LOCKED: ClassVar = frozenset({1205, 1213, 1020})
    SLOW: ClassVar = frozenset({1969, 3024})  # max_statement_time, and max_execution_time of MySQL
    FORBIDDEN: ClassVar = frozenset({1044, 1142, 1227})
    REFUSED: ClassVar = frozenset({1644})  # SIGNAL
    WITH_WRITING: ClassVar = 5.0
    COMMITS_BESIDE: ClassVar = True
    HOLDS: ClassVar = "LOCATE(BINARY %s, {column}) > 0"
    EXACTLY: ClassVar = "CAST(CONVERT(%(expressions)s USING utf8mb4) AS BINARY)"
    DAYS_LATER: ClassVar = ("DATE_ADD(%(expressions)s DAY)", ", INTERVAL ")
    # MariaDB shows what it showed before until no connection has looked for 0.1 seconds: looks are
    # further apart, and by chance, since others look, too.
    BETWEEN_LOOKS: ClassVar = (0.2, 0.5)
    WHICH_SERVER: ClassVar = "SELECT @@hostname, @@port, @@server_id"

    def reads_uncommitted(self) -> bool:
        if self.connection.settings_dict["OPTIONS"].get("isolation_level", "read committed"):
            return self.isolation_level() == "read uncommitted"
        # With None or "", Django leaves it to the server.
        return any(level == "READ-UNCOMMITTED" for _, level in self.fetch(_ISOLATION))

    @contextmanager
    def lock_timeout(self, seconds: int) -> Iterator[None]:
        # Of rows, and of what a table is: it has no settings of a transaction.
        names = ("innodb_lock_wait_timeout", "lock_wait_timeout")
        [before] = self.fetch(f"SELECT {', '.join(f'@@SESSION.{name}' for name in names)}")
        limit = "SET SESSION " + ", ".join(f"{name} = {{}}" for name in names)
        try:
            self.execute(limit.format(seconds, seconds))
            yield
        finally:
            with suppress(DatabaseError):  # the connection is closed
                self.execute(limit.format(*before))

    def indexed_bytes(self, length: int) -> str | None:
        # There is no plain unique index on a longblob.
        return f"varbinary({length})"

    def marked(self, column_sql: str, *, is_bytes: bool) -> str:
        found = column_sql if is_bytes else self.EXACTLY % {"expressions": column_sql}
        return f"CONCAT(X'00', {found})"

    def as_stored(self, text: str, table: str, column: str) -> str:
        text = str(text)  # as the driver writes it
        charset = "utf8mb4" if text.isascii() else self._charset(table, column)
        if charset == "utf8mb4":
            return text
        # Where sql_mode is not strict, what the character set lacks becomes something else.
        convert = f"SELECT CONVERT(CONVERT(%s USING {charset}) USING utf8mb4)"
        return str(self.fetch(convert, [text])[0][0])

    def _charset(self, table: str, column: str) -> str:
        """Return the character set of a column, which is asked for once a connection."""
        known = vars(self.connection).setdefault("envelope_fields_charsets", {})
        if (table, column) not in known:
            found = self.fetch(
                "SELECT character_set_name FROM information_schema.columns "
                "WHERE table_schema = DATABASE() AND table_name = %s AND column_name = %s",
                [self.name(self.quote(table)), column],
            )
            known[table, column] = (found and found[0][0]) or "utf8mb4"
        return str(known[table, column])

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
        return self._under(names, Kind.VERSIONED_TABLE)

    def tables(self, names: Collection[str]) -> list[Relation]:
        return self.relations([(name, "") for name in names])

    def doubtful(self, names: Collection[tuple[str, str]]) -> list[Relation]:
        return self._under(names, Kind.VIEW, Kind.FOREIGN_TABLE)

    def _under(self, names: Collection[tuple[str, str]], *kinds: Kind) -> list[Relation]:
        """Find what is of some kinds, by names as SQL quotes them."""
        folded = {self._folded(name): kind for name, kind in self._kinds() if kind in kinds}
        found = ((self.name(table), self.name(column)) for table, column in names)
        return [
            Relation(table=table, column=column, kind=folded[self._folded(table)])
            for table, column in found
            if self._folded(table) in folded
        ]

    def others(self, names: Collection[str]) -> list[Relation]:
        kinds = dict(self._kinds())
        found = self.fetch(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() "
            f"AND data_type IN ({', '.join(['%s'] * len(_BINARY))}) "
            "ORDER BY table_name, column_name",
            _BINARY,
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

    def writers(self, tables: Collection[str]) -> list[tuple[str, str]]:
        return self._shown_now(_WRITERS)

    def older_transactions(self, seconds: float) -> list[tuple[str, str]]:
        return self._shown_now(_OLDER, seconds)

    def _shown_now(self, sql: str, *parameters: Any) -> list[tuple[str, str]]:
        """Look until transactions are shown as they are now, or were since this began.

        Raises:
            ShownAsBefore: others look all the time, and are all shown what was there before.
        """
        mark = f"%{secrets.token_hex(8)}%"
        for _ in range(LOOKS):
            shown = self._shown(sql, mark, *parameters)
            if self._is_of_a_test() or any(is_own and is_now for is_own, is_now, *_ in shown):
                return [(identity, process) for is_own, _, identity, process in shown if not is_own]
            self._pause_in_sight(mark)
        raise ShownAsBefore

    def _pause_in_sight(self, mark: str) -> None:
        """Wait before the next look, which may be shown what another one finds meanwhile.

        Several that look in turn would else keep each other from what is new.
        """
        self._shown("SELECT %s, SLEEP(%s)", mark, uniform(*self.BETWEEN_LOOKS))  # noqa: S311

    def _shown(self, sql: str, mark: str, *parameters: Any) -> list[Any]:
        if self.connection.in_atomic_block or not self.connection.get_autocommit():
            return self.fetch(sql, [mark, *parameters])  # in the transaction that there is
        self.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        try:
            return self.fetch(sql, [mark, *parameters])
        finally:
            self.execute("COMMIT")

    def _is_of_a_test(self) -> bool:
        """Whether a test has begun the transaction, in which this one may have done nothing yet."""
        blocks: list[Any] = self.connection.atomic_blocks
        return bool(blocks) and all(block._from_testcase for block in blocks)

    def why_unseen(self, error: DatabaseError) -> str:
        if isinstance(error, ShownAsBefore):
            return "the server shows them as they were: something looks at INNODB_TRX all the time"
        if error.args[:1] == (_NO_RIGHT,):
            return "to see them takes the right PROCESS, which the user of this connection lacks"
        return super().why_unseen(error)

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
    if str(engine).upper() in _REMOTE:
        return Kind.FOREIGN_TABLE
    return _KINDS.get(table_type, Kind.TABLE)
