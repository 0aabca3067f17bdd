"""Questions about the table of a model that may not be there yet."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Model, QuerySet

from envelope_fields.database_errors import says_no_table

__all__ = ["count_values", "has_rows", "says_no_table"]


def has_rows(model: type[Model], using: str) -> bool:
    """Whether the table of a model exists and has rows."""
    return bool(_asked(model, using, lambda rows: rows.exists()))


def count_values(model: type[Model], name: str, using: str) -> int:
    """Return how many rows have a value in the column of a field: 0 without the table."""
    return int(_asked(model, using, lambda rows: rows.filter(**{f"{name}__isnull": False}).count()))


def _asked(model: type[Model], using: str, question: Any) -> int:
    # Asking the table itself is the one way that knows how the database folds and quotes names.
    try:
        with transaction.atomic(using=using):
            return int(question(QuerySet(model, using=using)))
    except DatabaseError as error:
        if says_no_table(error):
            return 0
        raise
