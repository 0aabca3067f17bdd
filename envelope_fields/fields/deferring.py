"""Queries that load a part of the columns: a value and the columns it is bound to come together.

`only()` names a value and means these columns, too; where `defer()` names one of them, the value is
deferred with it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db.models.sql import Query

Mask = dict[Any, Any]  # the fields that are loaded, and what is of each related model


def load_bound_columns() -> None:
    """Have queries load bound columns with values, and neither without the other.

    What `only()` and `defer()` name becomes columns in these two places, where no field is asked.
    A query that names none comes by neither.
    """
    for name, complete in (
        ("_get_only_select_mask", _complete),
        ("_get_defer_select_mask", _defer),
    ):
        original = getattr(Query, name)
        if not getattr(original, "completes", False):
            setattr(Query, name, _completed(original, complete))


def _completed(original: Callable[..., Mask], complete: Callable[[Mask], None]) -> Any:
    @wraps(original)
    def select_mask(self: Any, *args: Any, **kwargs: Any) -> Mask:
        mask = original(self, *args, **kwargs)  # which comes here for each related model, too
        complete(mask)
        return mask

    vars(select_mask)["completes"] = True
    return select_mask


def _complete(mask: Mask) -> None:
    """Add the columns that values are bound to."""
    for field in list(mask):
        bound = getattr(field, "bound_fields", ())
        for column in (*bound, *(field.model._meta.pk_fields if bound else ())):
            mask.setdefault(column, {})


def _defer(mask: Mask) -> None:
    """Leave out the values that are bound to columns which are left out."""
    for field in list(mask):
        if any(column not in mask for column in getattr(field, "bound_fields", ())):
            del mask[field]
