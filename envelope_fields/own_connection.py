"""Work that is committed at once, whatever becomes of the transaction around it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, TypeVar

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

_Result = TypeVar("_Result")

LOCK_SECONDS = 5

# What we wait for may be locked by the very transaction that waits for us, and no database sees
# such a deadlock: part of it is in Python.
_LOCK_TIMEOUT = {
    "postgresql": (f"SET lock_timeout = '{LOCK_SECONDS}s'", "RESET lock_timeout"),
    "mysql": (
        f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}",
        "SET SESSION innodb_lock_wait_timeout = @@GLOBAL.innodb_lock_wait_timeout",
    ),
}


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


def is_possible(using: str) -> bool:
    """Whether something can be committed beside this thread's transaction on `using`.

    SQLite has one lock for all writers, and a database in memory has no second connection. A test
    case wants everything taken back at its end.
    """
    connection = connections[using]
    return connection.vendor in _LOCK_TIMEOUT and not any(
        map(_is_of_test, connection.atomic_blocks)
    )


def run(function: Callable[[], _Result], using: str) -> _Result:
    """Return what `function` returns, called where `connections[using]` is another connection.

    It has the context variables of the caller, so that it acts for the same principal.

    Raises:
        OperationalError: it had to wait for a lock for longer than `LOCK_SECONDS`.
    """
    # Django's connections belong to threads.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="envelope_fields") as thread:
        return thread.submit(copy_context().run, _run, function, using).result()


def _run(function: Callable[[], _Result], using: str) -> _Result:
    connection = connections[using]
    impatiently, patiently = _LOCK_TIMEOUT[connection.vendor]
    try:
        _execute(connection, impatiently)
        return function()
    finally:
        with suppress(DatabaseError):  # the connection is closed, or goes back to a pool
            _execute(connection, patiently)
        connections.close_all()


def _execute(connection: BaseDatabaseWrapper, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _is_of_test(block: Any) -> bool:
    return bool(block._from_testcase)
