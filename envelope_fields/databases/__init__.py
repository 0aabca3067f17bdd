"""What a database says of itself: a module for each vendor, and nobody else asks for it."""

from __future__ import annotations

from django.db import connections

from envelope_fields.databases.base import Database, RowsHidden
from envelope_fields.databases.mysql import MySQL
from envelope_fields.databases.postgresql import PostgreSQL
from envelope_fields.databases.relations import UNLOCATED, Kind, Relation
from envelope_fields.databases.sqlite import SQLite

_OF_VENDOR: dict[str, type[Database]] = {
    "postgresql": PostgreSQL,
    "mysql": MySQL,
    "sqlite": SQLite,
}


def database(alias: str) -> Database:
    """Return the database behind this thread's connection of that alias."""
    connection = connections[alias]
    return _OF_VENDOR.get(connection.vendor, Database)(connection)


__all__ = ["UNLOCATED", "Database", "Kind", "Relation", "RowsHidden", "database"]
