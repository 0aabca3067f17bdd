"""Questions about the table of a model that may not be there yet."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.models import Field, Model, QuerySet


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


def has_rows(model: type[Model], using: str) -> bool:
    """Whether the table of a model exists and has rows."""
    return bool(_asked(model, using, lambda rows: rows.exists()))


def count_values(model: type[Model], name: str, using: str) -> int:
    """Return how many rows have a value in the column of a field: 0 without the table."""
    return int(_asked(model, using, lambda rows: rows.filter(**{f"{name}__isnull": False}).count()))


def lacks_cast(was: Field[Any, Any], becomes: Field[Any, Any], using: str) -> bool:
    """Whether a column cannot be altered to the type of another field, whatever is in it.

    PostgreSQL alone has types that do not become bytes; the others convert anything. A reference
    whose model is not known yet has no type, and is asked about again.
    """
    connection = connections[using]
    unknown = any(each.remote_field and not hasattr(each, "model") for each in (was, becomes))
    if connection.vendor != "postgresql" or unknown:
        return False
    there, wanted = (each.db_type(connection) for each in (was, becomes))
    try:
        with transaction.atomic(using=using), connection.cursor() as cursor:
            cursor.execute(f"SELECT CAST(CAST(NULL AS {there}) AS {wanted})")
    except DatabaseError as error:
        return getattr(error.__cause__, "sqlstate", None) == "42846"  # cannot_coerce
    return False


def _asked(model: type[Model], using: str, question: Any) -> int:
    # Asking the table itself is the one way that knows how the database folds and quotes names.
    try:
        with transaction.atomic(using=using):
            return int(question(QuerySet(model, using=using)))
    except DatabaseError as error:
        if says_no_table(error):
            return 0
        raise
