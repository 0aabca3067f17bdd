"""Django's functions of dates: what they say of an encrypted column.

`Trunc`, `Extract`, and `dates()` and `datetimes()` that are made of them, look at the type of a
column before SQL is made of it, and would say that it holds no dates.
"""

from functools import wraps
from typing import Any

from django.db.models.functions import Extract
from django.db.models.functions.datetime import TruncBase

from envelope_fields.fields.columns import encrypted_inside
from envelope_fields.fields.errors import refuse


def register() -> None:
    """Have the functions of dates refuse encrypted columns as every other does."""
    for function in (Extract, TruncBase):
        resolve = function.resolve_expression
        if not hasattr(resolve, "__wrapped__"):
            setattr(function, "resolve_expression", _refusing(resolve))  # noqa: B010 - not ours


def _refusing(resolve: Any) -> Any:
    @wraps(resolve)
    def resolve_expression(self: Any, query: Any = None, *args: Any, **kwargs: Any) -> Any:
        try:
            return resolve(self, query, *args, **kwargs)
        except (TypeError, ValueError):
            field = encrypted_inside(self, query)
            if field is None:
                raise
        raise refuse(field, "the database cannot compute on its values")

    return resolve_expression
