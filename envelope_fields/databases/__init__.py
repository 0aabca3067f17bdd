"""Everything that asks for the vendor of a database: a module for each, and nothing else does.

`errors` says what an error means, `clock` is the one of the keys' database, `tables` asks about
tables that may not be there yet, and `transactions` are those around code, and beside it.
"""

import sys

from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from envelope_fields.databases.append_only import AppendOnly
from envelope_fields.databases.base import Database
from envelope_fields.databases.mysql import MySQL
from envelope_fields.databases.postgresql import PostgreSQL
from envelope_fields.databases.relations import UNLOCATED, Kind, Relation, RowsHidden
from envelope_fields.databases.sqlite import SQLite

VENDORS: dict[str, type[Database]] = {
    "postgresql": PostgreSQL,
    "mysql": MySQL,
    "sqlite": SQLite,
}


def database(alias: str) -> Database:
    """Return the database behind this thread's connection of that alias."""
    return database_of(connections[alias])


def is_configured(connection: BaseDatabaseWrapper) -> bool:
    """Whether there is a database: with `DATABASES["default"] = {}`, as Django documents, none."""
    return connection.vendor != "unknown"


def is_test_run() -> bool:
    """Whether Django's test environment is set up: then databases are made to be thrown away."""
    utils = sys.modules.get("django.test.utils")  # which a server need not import
    return hasattr(getattr(utils, "_TestState", None), "saved_data")


def database_of(connection: BaseDatabaseWrapper) -> Database:
    """Return the database behind a connection."""
    return VENDORS.get(connection.vendor, Database)(connection)


def may_live_in(alias: str, model: type[Model]) -> bool:
    """Whether the routers let a model's rows be in a database.

    Where its tables were not made by Django, they forbid migrations and write there all the same.
    """
    return bool(router.allow_migrate_model(alias, model)) or router.db_for_write(model) == alias


__all__ = [
    "UNLOCATED",
    "VENDORS",
    "AppendOnly",
    "Database",
    "Kind",
    "Relation",
    "RowsHidden",
    "database",
    "database_of",
    "is_configured",
    "is_test_run",
    "may_live_in",
]
