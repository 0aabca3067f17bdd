"""Transactions that see the database as it was when they began.

What such a transaction reads of keys may be older than `KEY_CACHE_SECONDS`, or than a change that
this process has made since. It keeps that in a table of its own, so that no other thread and no
later transaction goes by it.
"""

from __future__ import annotations

from threading import local
from time import monotonic
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.conf import configuration
from envelope_fields.databases import database_of
from envelope_fields.databases.transactions import autocommits
from envelope_fields.keyring.bound import table_now
from envelope_fields.keyring.table import Table


class _OfThread(local):
    """The table of this thread's transaction, and the commit hooks by which that is known."""

    checked: tuple[BaseDatabaseWrapper, int] | None = None  # of what connection, and when
    hooks: list[Any] | None = None
    epoch = -1
    sees_the_past = False
    table: Table | None = None


_own = _OfThread()
_epoch = 0


def table() -> Table | None:
    """Return the table of this thread's transaction, or None where it sees the present.

    Raises:
        ImproperlyConfigured: it sees what others have not committed, and may still take back.
    """
    connection = connections[configuration().database]
    if _own.checked != (connection, _epoch):
        _check_isolation(connection)
        _own.checked = connection, _epoch
    if not connection.in_atomic_block:
        # Without autocommit, nothing tells one transaction from the next.
        has_autocommit = connection.autocommit or autocommits(connection)
        return None if has_autocommit else Table(seconds=0)
    # Django begins a new list of hooks whenever a transaction ends.
    hooks = connection.run_on_commit
    if _own.hooks is not hooks or _own.epoch != _epoch:
        _drop()
        _own.sees_the_past = database_of(connection).sees_the_past()
        _own.hooks, _own.epoch = hooks, _epoch
    if not _own.sees_the_past:
        return None
    if _own.table is None or monotonic() >= _own.table.deadline:
        _drop()
        _own.table = table_now()
        _own.table.is_of_transaction = True
    return _own.table


def _check_isolation(connection: BaseDatabaseWrapper) -> None:
    if database_of(connection).reads_uncommitted():
        raise ImproperlyConfigured(
            f"The database {connection.alias!r} holds keys and is read with the isolation level "
            '"read uncommitted": values would be stored under key versions that are never '
            'committed. Set "isolation_level": "read committed" in its OPTIONS.'
        )


def holds(table: Table) -> bool:
    """Whether a table is that of this thread's transaction, as far as it is known."""
    hooks = connections[configuration().database].run_on_commit
    return _own.table is table and _own.hooks is hooks and _own.epoch == _epoch


def forget() -> None:
    """Drop the tables of all threads."""
    global _epoch
    _epoch += 1
    _own.hooks = None
    _drop()


def _drop() -> None:
    if _own.table is not None:
        _own.table.end()
    _own.table = None
