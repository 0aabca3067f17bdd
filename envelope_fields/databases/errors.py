"""What the errors of databases mean, whichever of them raised one, and which of them pass."""

from enum import Enum

from django.db import DatabaseError, Error, connections, utils
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.databases import VENDORS, database_of
from envelope_fields.databases.base import error_code

_NO_FUNCTION_CREATORS = 1419  # of MariaDB
# Of a server that ends a connection, or cannot be reached: the next one may be open by then.
_LOST = frozenset({
    "08000", "08001", "08003", "08004", "08006", "57P01", "57P02", "57P03", "57P05", "25P03",
    2002, 2003, 2006, 2013, 1053, 1927,
})  # fmt: skip
_READ_ONLY = frozenset({"25006", 1290, 1792, 1836})  # a transaction, or the server


class Transient(Enum):
    """A kind of error that passes: trying again is the answer."""

    LOCKED = "another connection had locked what was asked for"
    SLOW = "it took too long"
    LOST = "the connection was lost"


def says_no_table(error: DatabaseError) -> bool:
    """Whether a query failed because its table does not exist.

    Asking the catalogue instead would miss tables: it lists neither other schemas nor, where case
    does not count, the name that the model has.
    """
    return any(vendor.says_no_table(error) for vendor in VENDORS.values())


def says_no_column(error: DatabaseError) -> bool:
    """Whether a query failed because its table lacks a column, as before a migration."""
    return any(vendor.says_no_column(error) for vendor in VENDORS.values())


def why_no_triggers(error: Error) -> str:
    """Say why triggers could not be made or dropped, without the words of the database."""
    if _is_one_of("FORBIDDEN", error):
        return "the role may not"
    if _is_one_of("LOCKED", error):
        return "another connection holds a lock on the table"
    if error_code(error) == _NO_FUNCTION_CREATORS:
        return "there is a binary log, and log_bin_trust_function_creators is off"
    return type(error).__name__


def is_about_rows(error: Error) -> bool:
    """Whether a statement failed for what one of its rows would become: others may do better."""
    return isinstance(error, utils.IntegrityError | utils.DataError) or _is_one_of("REFUSED", error)


def is_about_reading(error: Exception) -> bool:
    """Whether a driver makes no value of what a row has: its message may have that."""
    of_drivers = utils.DataError | ValueError | TypeError | ArithmeticError
    if isinstance(error, of_drivers):
        return True
    return isinstance(error, Error) and any(
        vendor.says_unreadable(error) for vendor in VENDORS.values()
    )


def transient(error: Error, connection: BaseDatabaseWrapper) -> Transient | None:
    """Return how an error passes; None for all others."""
    if _is_one_of("SLOW", error):
        return Transient.SLOW
    if _is_one_of("LOCKED", error) or database_of(connection).says_locked(error):
        return Transient.LOCKED
    if not isinstance(error, utils.OperationalError | utils.InterfaceError):
        return None
    # What psycopg raises by itself has no code, and the next connection may be open by now.
    is_of_driver = getattr(error.__cause__, "sqlstate", "") is None
    if is_of_driver or error_code(error) in _LOST or _is_lost(connection):
        return Transient.LOST
    return None


MIGRATED = "Is it reachable, and migrated with `python manage.py migrate`?"


def advice(error: Error, using: str = "", otherwise: str = MIGRATED) -> str:
    """Say why rows of ours could not be read or written, where that passes; and what to do.

    Args:
        error: of the database.
        using: its alias; empty where that is not known.
        otherwise: what to say of an error that does not pass.
    """
    is_locked = any(vendor.says_locked(error) for vendor in VENDORS.values())
    what = transient(error, connections[using]) if using else None
    if is_locked or what is Transient.LOCKED:
        hint = database_of(connections[using]).WHERE_LOCKED if using else ""
        return f"{_sentence(Transient.LOCKED)} That passes: try again.{hint}"
    if what is Transient.SLOW:
        return f"{_sentence(what)} That may pass: try again."
    if what is Transient.LOST:
        return f"{_sentence(what)} Is the database reachable? If it is, try again."
    if error_code(error) in _READ_ONLY or "attempt to write a readonly" in str(error):
        return (
            "It may only be read: name the one that takes writes in DATABASES, or let it. What is "
            "moved leaves out a replica that has a MIRROR in its TEST in DATABASES."
        )
    return otherwise


def refusal_text(error: Error, using: str) -> str:
    """Say what a database refused, and what to do; without what rows have.

    Args:
        error, using: those of `advice`.
    """
    detail = "" if is_about_reading(error) else f": {error}"  # which has what was read
    return f"The database refused ({type(error).__name__}{detail}). {advice(error, using)}"


def _sentence(what: Transient) -> str:
    return f"{what.value[:1].upper()}{what.value[1:]}."


def passes(error: Error, *aliases: str) -> bool:
    """Whether trying again makes sense: no transaction went with what failed.

    Connections that were lost are closed, so that the next query opens them again.
    """
    met = [
        (what, connections[alias])
        for alias in set(aliases)
        if (what := transient(error, connections[alias])) in (Transient.LOST, Transient.LOCKED)
    ]
    if not met or any(connection.in_atomic_block for _, connection in met):
        return False
    for what, connection in met:
        if what is Transient.LOST:
            connection.close()
    return True


def _is_one_of(codes: str, error: Error) -> bool:
    """Whether the code of an error is one that a vendor has for this."""
    code = error_code(error)
    return any(code in getattr(vendor, codes) for vendor in VENDORS.values())


def _is_lost(connection: BaseDatabaseWrapper) -> bool:
    if connection.connection is None:
        return True  # it could not even be opened
    try:
        return not connection.is_usable()
    except DatabaseError:
        return True
