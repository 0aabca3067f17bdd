"""Transactions around the code that runs, and autonomous ones, which are committed beside them.

Also tables that keep what is rolled back, or lose what was committed: storage engines of MariaDB
without transactions keep it, and so does SQLite without a journal. What PostgreSQL does not log is
gone after a crash.
"""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import copy_context
from time import monotonic
from typing import Any, TypeVar

from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.conf import configuration
from envelope_fields.databases import database

_Result = TypeVar("_Result")

LOCK_SECONDS = 5


def in_transaction(using: str) -> bool:
    """Whether this thread's connection has a transaction open that is more than that of a test."""
    connection = connections[using]
    if connection.in_atomic_block:
        return not all(map(_is_of_test, connection.atomic_blocks))
    return not autocommits(connection)


def autocommits(connection: BaseDatabaseWrapper) -> bool:
    """Whether what a connection does outside of `atomic()` is committed at once.

    To ask Django opens it, which may fail, and take long.
    """
    if connection.connection is None:
        return bool(connection.settings_dict["AUTOCOMMIT"])
    return connection.get_autocommit()


def has_autonomous(using: str) -> bool:
    """Whether something can be committed beside this thread's transaction on `using`.

    SQLite has one lock for all writers, and a database in memory has no second connection. A test
    case wants everything taken back at its end.
    """
    return database(using).COMMITS_BESIDE and not in_test(using)


def in_test(using: str) -> bool:
    """Whether a test case has begun a transaction on `using`, and rolls it back at its end."""
    return any(map(_is_of_test, connections[using].atomic_blocks))


def autonomous(function: Callable[[], _Result], using: str) -> _Result:
    """Return what `function` returns, called where `connections[using]` is another connection.

    It has the context variables of the caller, so that it acts for the same principal. The
    connection is not of Django's pool, if there is one.

    Raises:
        OperationalError: it had to wait for a lock for longer than `LOCK_SECONDS`; or there is no
            thread to be had, as at the end of the process.
    """
    # Django's connections belong to threads.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="envelope_fields") as thread:
        try:
            beside = thread.submit(copy_context().run, _run, function, using)
        except RuntimeError as error:
            raise OperationalError(f"No thread for a second connection: {error}.") from error
        return beside.result()


def _run(function: Callable[[], _Result], using: str) -> _Result:
    _leave_the_pool(connections[using])
    try:
        # What we wait for may be locked by the very transaction that waits for us, and no database
        # sees such a deadlock: part of it is in Python.
        with waiting_briefly(using):
            return function()
    finally:
        connections.close_all()


def waiting_briefly(using: str) -> AbstractContextManager[None]:
    """Have what waits for a lock for longer than `LOCK_SECONDS` fail inside.

    Another transaction may hold it for hours.
    """
    return database(using).lock_timeout(LOCK_SECONDS)


# Then the binary log of MariaDB and MySQL takes nothing from a transaction that sees the present.
_LOGS_STATEMENTS = "SELECT @@log_bin AND @@binlog_format = 'STATEMENT'"


def see_the_present(using: str) -> None:
    """Have a transaction that has just begun see what others commit meanwhile.

    Under `REPEATABLE READ` or `SERIALIZABLE`, one that has waited for a lock goes by what was there
    before, or fails. Inside of the transaction of a caller, the level is theirs. To be called where
    rows are locked one by one: on SQLite, none waits inside of a transaction.
    """
    connection, ask = connections[using], database(using)
    is_outermost = len(connection.atomic_blocks) == 1 and connection.commit_on_exit
    if not (is_outermost and ask.sees_the_past()):
        return
    if connection.vendor != "mysql" or not ask.fetch(_LOGS_STATEMENTS)[0][0]:
        # On PostgreSQL, nothing may be selected before.
        ask.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")


def _leave_the_pool(connection: BaseDatabaseWrapper) -> None:
    """Have a connection that is not open yet be one of its own.

    Transactions that hold all of a pool would wait in it for each other, until it gives up.
    """
    settings = connection.settings_dict
    if settings["OPTIONS"].get("pool"):
        options = {name: value for name, value in settings["OPTIONS"].items() if name != "pool"}
        connection.settings_dict = {**settings, "OPTIONS": options}


def _is_of_test(block: Any) -> bool:
    return bool(block._from_testcase)


# -- Tables that have none -------------------------------------------------------------------------

# The engine of a partitioned table is that of its partitions; a view has none.
_KEEPING = """
    SELECT tables.table_name, tables.engine FROM information_schema.tables AS tables
    JOIN information_schema.engines AS engines ON engines.engine = tables.engine
    WHERE tables.table_schema = DATABASE() AND tables.table_name IN ({marks})
    AND engines.transactions <> 'YES'
"""
_LOSING = """
    SELECT relname, CASE relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'TEMPORARY' END
    FROM pg_catalog.pg_class WHERE relpersistence <> 'p' AND oid IN ({marks})
"""
_DEFAULT = """
    SELECT engine FROM information_schema.engines
    WHERE engine = @@SESSION.default_storage_engine AND transactions <> 'YES'
"""

_MENDING = {
    "mysql": "Have an operator run, for each of them, `ALTER TABLE … ENGINE = InnoDB`, and set "
    "`default_storage_engine` to InnoDB on the server, or in OPTIONS of the database: "
    '"init_command": "SET default_storage_engine=INNODB".',
    "postgresql": "Have their owner run, for each of them, `ALTER TABLE … SET LOGGED`.",
    "sqlite": "Take `PRAGMA journal_mode = OFF` out of OPTIONS of the database.",
}

_asked: dict[tuple[str, str], tuple[bool, float]] = {}  # until when it is not asked for each value


def is_rolled_back(table: str, using: str) -> bool:
    """Whether what was written to a table, by its name in models, goes with its transaction.

    Tables of MyISAM and of some other engines keep it. An answer is kept for `KEY_CACHE_SECONDS`.
    """
    if connections[using].vendor != "mysql":
        return True  # without a journal, SQLite keeps the keys as well
    now, (is_so, until) = monotonic(), _asked.get((using, table), (False, 0.0))
    if not is_so or now >= until:
        is_so = not keeping([table], using)
        _asked[using, table] = is_so, now + configuration().key_cache_seconds
    return is_so


def keeping(tables: Collection[str], using: str) -> dict[str, str]:
    """Return which tables, by their names in models, keep what is rolled back, and their engines.

    Those that are not there are left out.
    """
    vendor = connections[using].vendor
    if vendor == "mysql":
        return _found(_KEEPING, tables, using)
    if vendor == "sqlite" and tables:
        [[journal]] = database(using).fetch("PRAGMA main.journal_mode")
        return dict.fromkeys(tables, "journal_mode OFF") if journal.lower() == "off" else {}
    return {}


def losing(tables: Collection[str], using: str) -> dict[str, str]:
    """Return which tables, by their names in models, are empty after a crash, and why."""
    if connections[using].vendor != "postgresql":
        return {}
    return _found(_LOSING, tables, using, mark="to_regclass(%s)")


def engine_of_new_tables(using: str) -> str:
    """Return the engine of tables that are made now, where it keeps what is rolled back, or ""."""
    if connections[using].vendor != "mysql":
        return ""
    return "".join(engine for (engine,) in database(using).fetch(_DEFAULT))


def mending(using: str) -> str:
    """Return what an operator is to do with such tables."""
    return _MENDING[connections[using].vendor]


def _found(sql: str, tables: Collection[str], using: str, mark: str = "%s") -> dict[str, str]:
    if not tables:
        return {}
    ask, quote = database(using), connections[using].ops.quote_name
    as_regclass = mark != "%s"
    names = [quote(table) if as_regclass else ask.name(quote(table)) for table in tables]
    rows = ask.fetch(sql.format(marks=", ".join([mark] * len(names))), names)
    fold = str.lower if connections[using].features.ignores_table_name_case else str
    engines = {fold(name): engine for name, engine in rows}
    named = {table: fold(ask.name(quote(table))) for table in tables}
    return {table: engines[name] for table, name in named.items() if name in engines}
