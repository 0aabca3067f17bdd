"""Transactions that are under way: what they wrote is not counted before they are committed.

PostgreSQL shows every role which locks transactions hold; MariaDB lists transactions to those that
have the right `PROCESS`. SQLite lets one write at a time: once it is our turn, no other
connection is writing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import uniform
from time import monotonic
from typing import Any

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.census import NotCounted
from envelope_fields.census.columns import encrypted_columns
from envelope_fields.conf import configuration
from envelope_fields.databases import database, transactions

SECONDS = 5  # a user may wait for a count in front of a page
# MariaDB shows what it showed before until no connection has looked for 0.1 seconds: there, looks
# are further apart, and by chance, since others look, too.
SECONDS_BETWEEN_LOOKS = {"mysql": (0.2, 0.5)}
_BETWEEN_LOOKS = (0.05, 0.05)
LOOKS = 10

# Who writes to a partition by its own name locks nothing else.
_POSTGRESQL_WRITERS = """
    WITH RECURSIVE tables(oid) AS (
        SELECT oid FROM pg_catalog.pg_class WHERE relname = ANY(%s::name[])
        UNION
        SELECT inhrelid FROM pg_catalog.pg_inherits JOIN tables ON inhparent = tables.oid
    )
    SELECT DISTINCT locks.virtualtransaction, locks.pid::text
    FROM pg_catalog.pg_locks AS locks
    JOIN tables ON tables.oid = locks.relation
    JOIN pg_catalog.pg_database AS ours ON ours.oid = locks.database
    WHERE ours.datname = current_database() AND locks.granted
    AND locks.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
        'AccessExclusiveLock')
    AND locks.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
"""
# Every transaction locks its own virtual id. Vacuum has no user.
_POSTGRESQL_OLDER = """
    SELECT locks.virtualxid, locks.pid::text
    FROM pg_catalog.pg_locks AS locks
    JOIN pg_catalog.pg_stat_activity AS others ON others.pid = locks.pid
    WHERE locks.locktype = 'virtualxid' AND locks.mode = 'ExclusiveLock' AND locks.granted
    AND others.datname = current_database() AND others.usesysid IS NOT NULL
    AND others.pid <> pg_catalog.pg_backend_pid()
    AND (others.xact_start IS NULL
        OR others.xact_start < clock_timestamp() - make_interval(secs => %s))
"""
# Ours is one of them, with this very statement, if they are shown as they are now.
_MYSQL = """
    SELECT others.id = CONNECTION_ID(), trx.trx_query LIKE %s,
        CONCAT(trx.trx_mysql_thread_id, ' ', trx.trx_started), trx.trx_mysql_thread_id
    FROM information_schema.innodb_trx AS trx
    JOIN information_schema.processlist AS others ON others.id = trx.trx_mysql_thread_id
    WHERE others.id = CONNECTION_ID() OR others.db = DATABASE() AND
"""
_MYSQL_WRITERS = f"{_MYSQL} trx.trx_rows_modified > 0"
# It shows their beginnings in whole seconds.
_MYSQL_OLDER = f"{_MYSQL} TIMESTAMPDIFF(SECOND, trx.trx_started, NOW()) + 1 >= %s"
_NO_RIGHT = 1227


@dataclass(frozen=True, order=True, slots=True)
class Open:
    """A transaction of another connection.

    Attributes:
        database: the alias in `DATABASES`.
        process: the number of its process or connection at the server.
        identity: what no other transaction of the database has while it is under way.
    """

    database: str
    process: str
    identity: str

    def __str__(self) -> str:
        return f"process {self.process} in the database {self.database!r}"


@dataclass(slots=True)
class Waited:
    """What a wait ended with.

    Attributes:
        still_open: transactions that did not end.
        unseen: databases that do not show theirs.
    """

    still_open: list[Open] = field(default_factory=list)
    unseen: list[NotCounted] = field(default_factory=list)


def writers() -> Waited:
    """Wait a little for transactions that have written to the tables of values."""
    return _waited_for(_tables(), _writers, SECONDS)


def older(age: Callable[[], float], seconds: float) -> Waited:
    """Wait for transactions that began before a moment.

    Also for those in the keys' database: one that sees the past finds keys there as they were.

    Args:
        age: returns how many seconds ago that moment is. A transaction that does not show its own,
            as one of another role on PostgreSQL, is taken for older.
        seconds: for how many seconds to wait.
    """
    tables = {configuration().database: set[str](), **_tables()}
    return _waited_for(tables, lambda connection, _: _older(connection, age()), seconds)


_Look = Callable[[BaseDatabaseWrapper, set[str]], Iterable[tuple[str, str]]]


_Tables = dict[str, set[str]]  # by database


def _tables() -> _Tables:
    """Return the tables of values, named as the catalogue has them."""
    tables: _Tables = {}
    for column in encrypted_columns():
        name = database(column.database).name(column.table_sql)
        tables.setdefault(column.database, set()).add(name)
    return tables


def _waited_for(tables: _Tables, look: _Look, seconds: float) -> Waited:
    waited, until = Waited(), monotonic() + seconds
    for alias, names in tables.items():
        try:
            waited.still_open += _waited_for_in(alias, names, look, until)
        except (DatabaseError, _ShownAsBefore) as error:
            waited.unseen.append(NotCounted(alias, "transactions that are under way", _why(error)))
    return waited


class _ShownAsBefore(Exception):
    """MariaDB went on showing transactions as they were at an earlier time."""


def _waited_for_in(alias: str, tables: set[str], look: _Look, until: float) -> list[Open]:
    waiting = _open(alias, tables, look)
    while waiting and monotonic() < until:
        _pause(connections[alias])
        waiting &= _open(alias, tables, look)
    return sorted(waiting)


def _pause(connection: BaseDatabaseWrapper) -> None:
    between = SECONDS_BETWEEN_LOOKS.get(connection.vendor, _BETWEEN_LOOKS)
    time.sleep(uniform(*between))  # noqa: S311 - no secret


def _open(alias: str, tables: set[str], look: _Look) -> set[Open]:
    found = look(connections[alias], tables)
    return {Open(alias, str(process), identity) for identity, process in found}


def _writers(connection: BaseDatabaseWrapper, tables: set[str]) -> Iterable[tuple[str, str]]:
    if connection.vendor == "postgresql":
        return _asked(connection, _POSTGRESQL_WRITERS, sorted(tables))
    if connection.vendor == "mysql":
        return _shown_now(connection, _MYSQL_WRITERS)
    return _one_that_writes(connection)


def _older(connection: BaseDatabaseWrapper, seconds: float) -> Iterable[tuple[str, str]]:
    if connection.vendor == "postgresql":
        return _asked(connection, _POSTGRESQL_OLDER, seconds)
    if connection.vendor == "mysql":
        return _shown_now(connection, _MYSQL_OLDER, seconds)
    return _one_that_writes(connection)


def _asked(connection: BaseDatabaseWrapper, sql: str, *parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return list(cursor.fetchall())


def _shown_now(
    connection: BaseDatabaseWrapper, sql: str, *parameters: Any
) -> list[tuple[str, str]]:
    """Look until MariaDB shows transactions as they are now.

    Raises:
        _ShownAsBefore: others look all the time, and are all shown what was there before.
    """
    for _ in range(LOOKS):
        shown = _shown_to_a_transaction(connection, f"%{secrets.token_hex(8)}%", sql, *parameters)
        if _is_of_a_test(connection) or any(is_own and is_now for is_own, is_now, *_ in shown):
            return [(identity, process) for is_own, _, identity, process in shown if not is_own]
        _pause(connection)
    raise _ShownAsBefore


def _shown_to_a_transaction(
    connection: BaseDatabaseWrapper, mark: str, sql: str, *parameters: Any
) -> list[Any]:
    if connection.in_atomic_block or not transactions.autocommits(connection):
        return _asked(connection, sql, mark, *parameters)  # in the one that there is
    with connection.cursor() as cursor:
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    try:
        return _asked(connection, sql, mark, *parameters)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("COMMIT")


def _is_of_a_test(connection: BaseDatabaseWrapper) -> bool:
    """Whether a test has begun the transaction, in which this one may have done nothing yet."""
    return connection.in_atomic_block and not transactions.in_transaction(connection.alias)


def _one_that_writes(connection: BaseDatabaseWrapper) -> Iterable[tuple[str, str]]:
    """Take SQLite's one lock, which waits for a writer; in a transaction of ours we may have it."""
    if connection.in_atomic_block or not connection.get_autocommit():
        return ()
    with connection.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("ROLLBACK")
    return ()


def _why(error: Exception) -> str:
    if isinstance(error, _ShownAsBefore):
        return "MariaDB shows them as they were, since something looks at INNODB_TRX all the time"
    if error.args[:1] == (_NO_RIGHT,):
        return "to see them takes the right PROCESS, which the user of this connection lacks"
    return f"they could not be seen ({type(error).__name__})"
