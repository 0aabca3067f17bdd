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

from envelope_fields.conf import configuration
from envelope_fields.keyring.table import Table

# What DATABASES may say in OPTIONS["isolation_level"]: text for MariaDB, psycopg's numbers for
# PostgreSQL, whose level 1 is its level 2. Anything else is a snapshot, or the server's default.
_READ_UNCOMMITTED = "read uncommitted"
_READ_COMMITTED = {"postgresql": (None, 1, 2), "mysql": ("read committed",)}


class _OfThread(local):
    """The table of this thread's transaction, and the commit hooks by which that is known."""

    hooks: list[Any] | None = None
    table: Table | None = None
    epoch = -1


_own = _OfThread()
_epoch = 0


def is_in_one() -> bool:
    """Whether this thread's connection to the keys' database reads from a snapshot now.

    Raises:
        ImproperlyConfigured: it reads what others have not committed, and may still take back.
    """
    connection = connections[configuration().database]
    options: dict[str, Any] = connection.settings_dict["OPTIONS"]
    level = options.get(
        "isolation_level", "read committed" if connection.vendor == "mysql" else None
    )
    if connection.vendor == "mysql" and str(level).lower() == _READ_UNCOMMITTED:
        raise ImproperlyConfigured(
            f"The database {connection.alias!r} holds keys and is read with the isolation level "
            f"{level!r}: values would be stored under key versions that are never committed. Set "
            '"isolation_level": "read committed" in its OPTIONS.'
        )
    if not connection.in_atomic_block and connection.get_autocommit():
        return False
    level = level.lower() if isinstance(level, str) else level
    return level not in _READ_COMMITTED.get(connection.vendor, ())


def table() -> Table:
    """Return the table of the transaction that this thread is in."""
    # Django begins a new list of hooks whenever a transaction ends.
    hooks = connections[configuration().database].run_on_commit
    known = _own.table
    if known is None or _own.hooks is not hooks or _own.epoch != _epoch:
        known = None
    if known is None or monotonic() >= known.deadline:
        known = _own.table = Table(configuration().key_cache_seconds)
        _own.hooks, _own.epoch = hooks, _epoch
    return known


def forget() -> None:
    """Drop the tables of all threads."""
    global _epoch
    _epoch += 1
