"""Everything that asks for the vendor of a database: a module for each, and nothing else does.

`errors` says what an error means, `tables` asks about tables that may not be there yet, and
`transactions` are those around code, and beside it.

Processes share the clock of the keys' database. Those of machines may differ by more than the time
that is waited before a key is shredded. So the times that one process writes down for another to
compare with, when a state was changed or a key was used, are of this one.
"""

import os
import sys
from asyncio import get_running_loop
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.databases.base import Database
from envelope_fields.databases.mysql import MySQL
from envelope_fields.databases.postgresql import PostgreSQL
from envelope_fields.databases.relations import UNLOCATED, AppendOnly, Kind, Relation, RowsHidden
from envelope_fields.databases.sqlite import SQLite

VENDORS: dict[str, type[Database]] = {
    "postgresql": PostgreSQL,
    "mysql": MySQL,
    "sqlite": SQLite,
}

IN_A_QUERY = 500  # that many parameters every database takes, and more help none

_Named = TypeVar("_Named")


def database(alias: str) -> Database:
    """Return the database behind this thread's connection of that alias."""
    return database_of(connections[alias])


def is_configured(connection: BaseDatabaseWrapper) -> bool:
    """Whether there is a database: with `DATABASES["default"] = {}`, as Django documents, none."""
    return connection.vendor != "unknown"


def may_wait() -> bool:
    """Whether a database or a root key may be asked in this thread: no event loop is running.

    As in Django, `DJANGO_ALLOW_ASYNC_UNSAFE` allows it all the same: for notebooks, whose cells
    run in an event loop.
    """
    try:
        get_running_loop()
    except RuntimeError:
        return True
    return bool(os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"))


def unknown_vendor(connection: BaseDatabaseWrapper) -> str:
    """Return the vendor of a database that there are no statements for; empty for all others."""
    is_known = connection.vendor in VENDORS or not is_configured(connection)
    return "" if is_known else str(connection.vendor)


def is_test_run() -> bool:
    """Whether Django's test environment is set up: then databases are made to be thrown away."""
    utils = sys.modules.get("django.test.utils")  # which a server need not import
    return hasattr(getattr(utils, "_TestState", None), "saved_data")


def database_of(connection: BaseDatabaseWrapper) -> Database:
    """Return the database behind a connection."""
    return VENDORS.get(connection.vendor, Database)(connection)


def server_behind(connection: BaseDatabaseWrapper) -> tuple[Any, ...] | None:
    """Return what tells the server behind an open connection from another; None where none is.

    It is asked over the driver: to those who look at a connection's queries, it is none.

    Raises:
        DatabaseError: it does not say.
    """
    query = database_of(connection).WHICH_SERVER
    if not query or not connection.autocommit:
        return None
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute(query)
        return tuple(cursor.fetchone())


def now() -> datetime:
    """Return what time it is by the clock of the keys' database, as `timezone.now()` does.

    Raises:
        DatabaseError: it cannot be asked.
    """
    return database(configuration().database).now()


def ahead() -> timedelta:
    """Return how far that is ahead of `timezone.now()`; errors as above.

    What happened before the question is never taken for later than the answer.
    """
    before = timezone.now()
    return now() - before


def in_queries(names: Sequence[_Named]) -> Iterator[Sequence[_Named]]:
    """Cut what is named in queries into as many as each of them names."""
    for start in range(0, len(names), IN_A_QUERY):
        yield names[start : start + IN_A_QUERY]


def may_live_in(alias: str, model: type[Model]) -> bool:
    """Whether the routers let a model's rows be in a database.

    Where its tables were not made by Django, they forbid migrations and write there all the same.
    """
    return bool(router.allow_migrate_model(alias, model)) or router.db_for_write(model) == alias


__all__ = [
    "IN_A_QUERY",
    "UNLOCATED",
    "VENDORS",
    "AppendOnly",
    "Database",
    "Kind",
    "Relation",
    "RowsHidden",
    "ahead",
    "database",
    "database_of",
    "in_queries",
    "is_configured",
    "is_test_run",
    "may_live_in",
    "may_wait",
    "now",
    "unknown_vendor",
]
