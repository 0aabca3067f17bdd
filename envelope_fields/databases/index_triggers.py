"""Triggers that empty an index where a statement writes a value and leaves the index as it was.

A build that does not know of the index writes so, and so does SQL of one's own. An index that is
empty where there is a value can be counted and filled; a stale one looks as if it were right.

A rewrap leaves the payload as it is, and with it the index.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import ClassVar

from django.db import DatabaseError, connections, transaction

from envelope_fields.crypto import format as layout
from envelope_fields.crypto.blind_index import INDEX_BYTES
from envelope_fields.databases import Database, database

PREFIX = "envelope_fields_index_"
LOCK_SECONDS = 5  # statements that come later wait behind us, too


@dataclass(frozen=True, slots=True)
class IndexedValues:
    """A blind index, and what it is made of: names, quoted for SQL."""

    schema: str | None  # of the table; None where its name alone means it
    table_sql: str
    index_sql: str
    values_sql: tuple[str, ...]  # the columns of the values


class TriggersImpossible(DatabaseError):
    """Triggers cannot be made or dropped here, and why."""


class IndexTriggers:
    """The triggers of one index.

    Args:
        ask: its database.
    """

    # Whether they tell that a statement writes the index from that it does not. Where they do not,
    # they also empty that of a value that is written again as it was.
    EMPTIES_ONLY_STALE: ClassVar[bool] = False
    _FOUND: ClassVar[str]  # the names of triggers that are like one

    def __init__(self, ask: Database, index: IndexedValues) -> None:
        self._ask = ask
        self._index = index
        names = ask.name(index.table_sql), ask.name(index.index_sql)
        self._name = f"{PREFIX}{hashlib.sha256('/'.join(names).encode()).hexdigest()[:16]}"

    def make(self) -> None:
        """Make them, if they are not there.

        Raises:
            DatabaseError: the role may not, others hold locks on the table, or a transaction is
                open that the database would commit.
        """
        if not self.are_there():
            self._refuse_role()
            with _changing(self._ask):
                self._ask.fetch(self._naming_columns())
                self._ask.execute(*self._dropping(), *self._creating())

    def drop(self) -> None:
        """Drop them, if they are there; errors as for `make`."""
        if self.are_there():
            self._refuse_role()
            with _changing(self._ask):
                self._ask.execute(*self._dropping())

    def _refuse_role(self) -> None:
        """Raise where the role could make triggers, and not drop them again."""

    def are_there(self) -> bool:
        """Whether all of them are there, and none is disabled."""
        return bool(self._ask.fetch(self._FOUND, [self._name]))

    @classmethod
    def drop_all(cls, ask: Database) -> None:
        """Drop those of every index in a database, whatever has become of their tables."""
        found = ask.fetch(cls._FOUND, [f"{PREFIX}%"])
        if found:
            with _changing(ask):
                ask.execute(*(f"DROP TRIGGER IF EXISTS {name}" for (name,) in found))

    def _creating(self) -> Iterable[str]:
        raise NotImplementedError

    def _dropping(self) -> Iterable[str]:
        yield f"DROP TRIGGER IF EXISTS {self._name}"

    def _naming_columns(self) -> str:
        # SQLite makes triggers of columns that are not there, and fails when rows are written.
        names = (self._index.index_sql, *self._index.values_sql)
        columns = ", ".join(f"stored.{each}" for each in names)
        return f"SELECT {columns} FROM {self._index.table_sql} AS stored WHERE 1 = 0"

    def _is_stale(self, same: str) -> str:
        """Return the condition that a value has changed, and the index has not.

        Args:
            same: the operator for equality that takes NULL for a value.
        """
        index = self._index.index_sql
        kept = " AND ".join(
            f"{self._payload(f'OLD.{each}')} {same} {self._payload(f'NEW.{each}')}"
            for each in self._index.values_sql
        )
        return f"NOT ({kept}) AND OLD.{index} {same} NEW.{index}"

    def _payload(self, column: str) -> str:
        """Return what of a value a rewrap leaves; all of it, if it is not an envelope."""
        version = self._ask.literal(layout.FORMAT_VERSION)
        payload = f"substr({column}, {layout.PAYLOAD_AT + 1})"
        return f"CASE WHEN substr({column}, 1, 1) = {version} THEN {payload} ELSE {column} END"


@contextmanager
def _changing(ask: Database) -> Iterator[None]:
    """Change the schema, all of it or nothing where the database can take it back."""
    connection = ask.connection
    can_take_back = connection.features.can_rollback_ddl
    if connection.in_atomic_block and not can_take_back:
        raise TriggersImpossible("the database would commit the transaction that is open")
    whole = transaction.atomic(using=connection.alias) if can_take_back else nullcontext()
    with whole, ask.lock_timeout(LOCK_SECONDS):  # so that what is taken back has the limit, too
        yield


class OnPostgreSQL(IndexTriggers):
    """Triggers of columns fire where a statement names the column, whatever it writes.

    They follow each other in the order of their names: where the index is named and stays the same,
    the first one makes it longer by a byte, the second one empties what is as it was, and the third
    one takes the byte off again.
    """

    EMPTIES_ONLY_STALE = True
    _BODIES: ClassVar = {
        "1_written": "{index} := {index} || decode('00', 'hex')",
        "2_empty": "{index} := NULL",
        "3_written": "{index} := substr({index}, 1, " + str(INDEX_BYTES) + ")",
    }

    def are_there(self) -> bool:
        [[found]] = self._ask.fetch(
            "SELECT count(*) FROM pg_catalog.pg_trigger WHERE tgname LIKE %s "
            "AND tgrelid = to_regclass(%s) AND tgenabled <> 'D'",
            [f"{self._name}%", self._index.table_sql],
        )
        return int(found) == len(self._BODIES)

    def _refuse_role(self) -> None:
        found = self._ask.fetch(
            "SELECT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class "
            "WHERE oid = to_regclass(%s)",
            [self._index.table_sql],
        )
        if found == [(False,)]:
            raise TriggersImpossible(
                "the table belongs to another role, and no other one drops its triggers"
            )

    @classmethod
    def drop_all(cls, ask: Database) -> None:
        found = ask.fetch(
            "SELECT schema.nspname, relation.relname, trigger.tgname, proc.proname "
            "FROM pg_catalog.pg_trigger AS trigger "
            "JOIN pg_catalog.pg_class AS relation ON relation.oid = trigger.tgrelid "
            "JOIN pg_catalog.pg_proc AS proc ON proc.oid = trigger.tgfoid "
            "JOIN pg_catalog.pg_namespace AS schema ON schema.oid = relation.relnamespace "
            "WHERE trigger.tgname LIKE %s AND trigger.tgparentid = 0",
            [f"{PREFIX}%"],
        )
        with _changing(ask):
            for schema, table, trigger, _ in found:
                ask.execute(f"DROP TRIGGER IF EXISTS {trigger} ON {ask.quote(schema, table)}")
        _drop_functions(ask, (ask.quote(schema, function) for schema, _, _, function in found))

    def _function(self, name: str) -> str:
        return self._ask.quote(self._index.schema, f"{self._name}_{name}")

    def _creating(self) -> Iterable[str]:
        index, table = self._index.index_sql, self._index.table_sql
        for name, body in self._BODIES.items():
            block = f"BEGIN {body.format(index=f'NEW.{index}')}; RETURN NEW; END"
            quoted = block.replace("'", "''")  # a name may have any mark in it
            yield (
                f"CREATE OR REPLACE FUNCTION {self._function(name)}() RETURNS trigger "
                f"LANGUAGE plpgsql AS '{quoted}'"
            )
        same = "IS NOT DISTINCT FROM"
        conditions = {
            "1_written": (index, f"OLD.{index} = NEW.{index}"),
            "2_empty": (", ".join(self._index.values_sql), self._is_stale(same)),
            "3_written": (index, f"length(NEW.{index}) > {INDEX_BYTES}"),
        }
        for name, (columns, condition) in conditions.items():
            yield (
                f"CREATE TRIGGER {self._name}_{name} BEFORE UPDATE OF {columns} ON {table} "
                f"FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION {self._function(name)}()"
            )

    def _dropping(self) -> Iterable[str]:
        for name in self._BODIES:
            yield f"DROP TRIGGER IF EXISTS {self._name}_{name} ON {self._index.table_sql}"

    def drop(self) -> None:
        super().drop()
        _drop_functions(self._ask, map(self._function, self._BODIES))


def _drop_functions(ask: Database, names_sql: Iterable[str]) -> None:
    """Drop functions that no trigger calls any more, but for those of other roles."""
    for name_sql in names_sql:
        with suppress(DatabaseError), transaction.atomic(using=ask.connection.alias):
            ask.execute(f"DROP FUNCTION IF EXISTS {name_sql}()")


class OnMySQL(IndexTriggers):
    """A trigger sees rows, and not what a statement writes."""

    _FOUND: ClassVar = (
        "SELECT trigger_name FROM information_schema.triggers "
        "WHERE trigger_schema = DATABASE() AND trigger_name LIKE %s"
    )

    def _creating(self) -> Iterable[str]:
        yield (
            f"CREATE TRIGGER {self._name} BEFORE UPDATE ON {self._index.table_sql} FOR EACH ROW "
            f"IF {self._is_stale('<=>')} THEN SET NEW.{self._index.index_sql} = NULL; END IF"
        )


class OnSQLite(IndexTriggers):
    """A trigger writes to the row once it is written, since it cannot change what is."""

    _FOUND: ClassVar = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE %s"

    def _naming_columns(self) -> str:
        # A table WITHOUT ROWID lacks the one by which a trigger finds the row.
        return super()._naming_columns().replace("SELECT ", "SELECT stored.rowid, ", 1)

    def _creating(self) -> Iterable[str]:
        index, table = self._index.index_sql, self._index.table_sql
        columns = ", ".join(self._index.values_sql)
        yield (
            f"CREATE TRIGGER {self._name} AFTER UPDATE OF {columns} ON {table} "
            f"WHEN {self._is_stale('IS')} BEGIN "
            f"UPDATE {table} SET {index} = NULL WHERE rowid = NEW.rowid; END"
        )


_VENDORS: dict[str, type[IndexTriggers]] = {
    "postgresql": OnPostgreSQL,
    "mysql": OnMySQL,
    "sqlite": OnSQLite,
}


def index_triggers(using: str, index: IndexedValues) -> IndexTriggers:
    """Return the triggers of an index in a database.

    Raises:
        TriggersImpossible: they are not written for it.
    """
    return _kind(using)(database(using), index)


def drop_all(using: str) -> None:
    """Drop the triggers of all indexes in a database; errors as for `IndexTriggers.make`."""
    _kind(using).drop_all(database(using))


def _kind(using: str) -> type[IndexTriggers]:
    kind = _VENDORS.get(connections[using].vendor)
    if kind is None:
        raise TriggersImpossible("no triggers are written for this database")
    return kind
