"""What went wrong in a database, where trying again is the answer."""

from __future__ import annotations

from enum import Enum

from django.db import DatabaseError, Error, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper


class Trouble(Enum):
    """A trouble that passes."""

    LOCKED = "somebody else had locked the rows"
    SLOW = "it took too long"
    LOST = "the connection was lost"


_LOCKED = frozenset(
    # PostgreSQL: lock_not_available, deadlock_detected, serialization_failure.
    # MariaDB: lock wait timeout, deadlock, record changed since it was read.
    {"55P03", "40P01", "40001", 1205, 1213, 1020}
)
# PostgreSQL: query_canceled. MariaDB: max_statement_time. MySQL: max_execution_time.
_SLOW = frozenset({"57014", 1969, 3024})


def trouble(error: Error, connection: BaseDatabaseWrapper) -> Trouble | None:
    """Return what kind of passing trouble an error is; None is for all others."""
    code = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    code = code or next(iter(error.args), None)
    if code in _SLOW:
        return Trouble.SLOW
    if code in _LOCKED or _sqlite_is_locked(error, connection):
        return Trouble.LOCKED
    if isinstance(error, OperationalError | InterfaceError) and _is_lost(connection):
        return Trouble.LOST
    return None


def reopened(*aliases: str) -> bool:
    """Close those connections that were lost, so that the next query opens them again.

    Returns:
        Whether there were any, and trying again makes sense: no transaction went with them.
    """
    lost = [connections[alias] for alias in set(aliases) if _is_lost(connections[alias])]
    if not lost or any(connection.in_atomic_block for connection in lost):
        return False
    for connection in lost:
        connection.close()
    return True


def _sqlite_is_locked(error: Error, connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "sqlite" and "is locked" in str(error)


def _is_lost(connection: BaseDatabaseWrapper) -> bool:
    if connection.connection is None:
        return True  # it could not even be opened
    try:
        return not connection.is_usable()
    except DatabaseError:
        return True
