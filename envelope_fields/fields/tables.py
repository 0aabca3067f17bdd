"""Questions about the table of a model that may not be there yet."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, connections
from django.db.models import Model, QuerySet

from envelope_fields.database_errors import says_no_table
from envelope_fields.databases import RowsHidden, database

__all__ = ["count_values", "has_rows", "says_no_table"]


def has_rows(model: type[Model], using: str) -> bool:
    """Whether the table of a model exists and has rows, or may have some that are hidden."""
    try:
        return bool(_asked(model, using, lambda rows: rows.exists()))
    except RowsHidden:
        return not database(using).is_empty_for_certain(_table_sql(model, using))


def count_values(model: type[Model], name: str, using: str) -> int:
    """Return how many rows have a value in the column of a field: 0 without the table.

    Raises:
        RowsHidden: there may be more.
    """
    return int(_asked(model, using, lambda rows: rows.filter(**{f"{name}__isnull": False}).count()))


def _asked(model: type[Model], using: str, question: Any) -> int:
    # Asking the table itself is the one way that knows how the database folds and quotes names.
    ask = database(using)
    try:
        with ask.seeing_all_rows():
            return int(question(QuerySet(model, using=using)))
    except DatabaseError as error:
        if says_no_table(error):
            return 0
        ask.refuse_hidden(_table_sql(model, using))
        raise


def _table_sql(model: type[Model], using: str) -> str:
    return connections[using].ops.quote_name(model._meta.db_table)
