"""What went wrong in a database, where trying again is the answer."""

from __future__ import annotations

from enum import Enum
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connections,
)
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.exceptions import EnvelopeError


class Trouble(Enum):
    """A trouble that passes."""

    LOCKED = "another connection had locked the rows"
    SLOW = "it took too long"
    LOST = "the connection was lost"


_LOCKED = frozenset(
    # PostgreSQL: lock_not_available, deadlock_detected, serialization_failure.
    # MariaDB: lock wait timeout, deadlock, record changed since it was read.
    {"55P03", "40P01", "40001", 1205, 1213, 1020}
)
# PostgreSQL: query_canceled. MariaDB: max_statement_time. MySQL: max_execution_time.
_SLOW = frozenset({"57014", 1969, 3024})


# A trigger that raises. PostgreSQL: raise_exception, with_check_option_violation. MariaDB: SIGNAL.
_REFUSED = frozenset({"P0001", "44000", 1644})


def is_about_rows(error: Error) -> bool:
    """Whether a statement failed for what one of its rows would become: others may do better."""
    return isinstance(error, IntegrityError | DataError) or _code(error) in _REFUSED


def trouble(error: Error, connection: BaseDatabaseWrapper) -> Trouble | None:
    """Return what kind of passing trouble an error is; None is for all others."""
    code = _code(error)
    if code in _SLOW:
        return Trouble.SLOW
    if code in _LOCKED or _sqlite_is_locked(error, connection):
        return Trouble.LOCKED
    if isinstance(error, OperationalError | InterfaceError) and _is_lost(connection):
        return Trouble.LOST
    return None


def passes(error: Error, *aliases: str) -> bool:
    """Whether trying again makes sense: no transaction went with what failed.

    Connections that were lost are closed, so that the next query opens them again.
    """
    troubled = [
        (what, connections[alias])
        for alias in set(aliases)
        if (what := trouble(error, connections[alias])) in (Trouble.LOST, Trouble.LOCKED)
    ]
    if not troubled or any(connection.in_atomic_block for _, connection in troubled):
        return False
    for what, connection in troubled:
        if what is Trouble.LOST:
            connection.close()
    return True


def said(error: Exception) -> str:
    """Return what an error says, without the rows that some tell of in further lines."""
    if isinstance(error, EnvelopeError | ImproperlyConfigured):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, Error):
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return type(error).__name__  # of whatever code, with whatever in it


def _code(error: Error) -> Any:
    code = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    return code or next(iter(error.args), None)


def _sqlite_is_locked(error: Error, connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "sqlite" and "is locked" in str(error)


def _is_lost(connection: BaseDatabaseWrapper) -> bool:
    if connection.connection is None:
        return True  # it could not even be opened
    try:
        return not connection.is_usable()
    except DatabaseError:
        return True
