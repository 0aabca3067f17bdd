"""The SQL of jobs: what is read of a column, and how it is swapped, on each database."""

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from envelope_fields.census.columns import Column
from envelope_fields.jobs.statements.base import KeysOutOfOrder, Statements
from envelope_fields.jobs.statements.mysql import MySQL
from envelope_fields.jobs.statements.postgresql import PostgreSQL
from envelope_fields.jobs.statements.sqlite import SQLite

_OF_VENDOR: dict[str, type[Statements]] = {
    "postgresql": PostgreSQL,
    "mysql": MySQL,
    "sqlite": SQLite,
}


def statements(column: Column) -> Statements:
    """Return the statements about a column, for the database that it is in.

    Raises:
        ImproperlyConfigured: values cannot be moved in a database of this vendor.
    """
    vendor = connections[column.database].vendor
    if vendor not in _OF_VENDOR:
        raise ImproperlyConfigured(
            f"The database {column.database!r} is {vendor}; values are moved on PostgreSQL, "
            "MariaDB and SQLite."
        )
    return _OF_VENDOR[vendor](column)


__all__ = ["KeysOutOfOrder", "Statements", "statements"]
