"""Queries that load a part of the columns: a value and the columns it is bound to come together.

`only()` names a value and means these columns, too; where `defer()` names one of them, the value is
deferred with it.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.db.models.sql import Query


def load_bound_columns() -> None:
    """Have queries load bound columns with values, and neither without the other.

    What `only()` and `defer()` name becomes columns in this one place, where no field is asked.
    """
    original: Any = Query.get_select_mask
    if getattr(original, "completes", False):
        return

    @wraps(original)
    def get_select_mask(self: Any) -> Any:
        mask = original(self)
        if mask:
            (_defer if self.deferred_loading[1] else _complete)(mask)
        return mask

    vars(get_select_mask)["completes"] = True
    Query.get_select_mask = get_select_mask  # type: ignore[method-assign]


def _complete(mask: dict[Any, Any]) -> None:
    """Add the columns that values are bound to, in a model and in those that are related."""
    for field, related in list(mask.items()):
        bound = getattr(field, "bound_fields", ())
        for column in (*bound, *(field.model._meta.pk_fields if bound else ())):
            mask.setdefault(column, {})
        _complete(related)


def _defer(mask: dict[Any, Any]) -> None:
    """Leave out the values that are bound to columns which are left out."""
    for field, related in list(mask.items()):
        if any(column not in mask for column in getattr(field, "bound_fields", ())):
            del mask[field]
        _defer(related)
