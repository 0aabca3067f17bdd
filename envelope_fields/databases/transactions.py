"""Transactions around the code that runs, and autonomous ones, which are committed beside them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

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
    of_test = any(map(_is_of_test, connections[using].atomic_blocks))
    return database(using).COMMITS_BESIDE and not of_test


def autonomous(function: Callable[[], _Result], using: str) -> _Result:
    """Return what `function` returns, called where `connections[using]` is another connection.

    It has the context variables of the caller, so that it acts for the same principal.

    Raises:
        OperationalError: it had to wait for a lock for longer than `LOCK_SECONDS`.
    """
    # Django's connections belong to threads.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="envelope_fields") as thread:
        return thread.submit(copy_context().run, _run, function, using).result()


def _run(function: Callable[[], _Result], using: str) -> _Result:
    try:
        # What we wait for may be locked by the very transaction that waits for us, and no database
        # sees such a deadlock: part of it is in Python.
        with database(using).lock_timeout(LOCK_SECONDS):
            return function()
    finally:
        connections.close_all()


def _is_of_test(block: Any) -> bool:
    return bool(block._from_testcase)
