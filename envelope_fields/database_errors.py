"""What the errors of databases mean."""

from __future__ import annotations

from django.db import DatabaseError


def says_no_table(error: DatabaseError) -> bool:
    """Whether a query failed because its table does not exist.

    Asking the catalogue instead would miss tables: it lists neither other schemas nor, where case
    does not count, the name that the model has.
    """
    return (
        getattr(error.__cause__, "sqlstate", None) in ("42P01", "3F000")  # PostgreSQL
        or error.args[:1] == (1146,)  # MariaDB and MySQL
        or str(error).startswith("no such table")  # SQLite
    )


def says_no_column(error: DatabaseError) -> bool:
    """Whether a query failed because its table lacks a column, as before a migration."""
    return (
        getattr(error.__cause__, "sqlstate", None) == "42703"  # PostgreSQL
        or error.args[:1] == (1054,)  # MariaDB and MySQL
        or "no such column" in str(error)  # SQLite
        or "has no column named" in str(error)
    )
