"""The admin's lists: a column of an encrypted field has no header to sort by.

Django makes each column of a model a link that orders by it, and asks no field whether it can. The
order would be refused when SQL is made, and the page be an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import wraps
from typing import Any

from django.db.models.sql import Query

from envelope_fields.fields.columns import is_ordered_by_envelopes


def register() -> None:
    """Have every admin class leave encrypted columns out of what can be sorted by."""
    from django.contrib.admin.options import BaseModelAdmin
    from django.contrib.admin.views.main import ChangeList

    for owner, name, narrowed in (
        (BaseModelAdmin, "get_sortable_by", _sortable),
        (ChangeList, "get_ordering_field", _orders_by),
    ):
        method = getattr(owner, name)
        if not hasattr(method, "__wrapped__"):
            setattr(owner, name, narrowed(method))


def _sortable(get_sortable_by: Any) -> Any:
    @wraps(get_sortable_by)
    def sortable(self: Any, *args: Any, **kwargs: Any) -> Iterable[Any]:
        names = get_sortable_by(self, *args, **kwargs)
        return [name for name in names if not is_ordered_by_envelopes(name, Query(self.model))]

    return sortable


def _orders_by(get_ordering_field: Any) -> Any:
    @wraps(get_ordering_field)
    def orders_by(self: Any, *args: Any, **kwargs: Any) -> Any:
        order = get_ordering_field(self, *args, **kwargs)
        # None is how Django says that a column cannot be sorted by, whatever the address asks.
        return None if is_ordered_by_envelopes(order, self.root_queryset.query) else order

    return orders_by
