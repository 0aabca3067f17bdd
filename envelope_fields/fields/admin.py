"""Encrypted fields in the admin of a project.

A column of an encrypted field has no header to sort by: Django makes each column of a model a link
that orders by it, and asks no field whether it can. The order would be refused when SQL is made,
and the page be an error. This is so for every admin class; a mixin shows what cannot be opened.
"""

from collections.abc import Iterable
from functools import wraps
from typing import Any

from django.db.models.sql import Query

from envelope_fields.fields.columns import is_ordered_by_envelopes
from envelope_fields.fields.masking import disabled_for_masks
from envelope_fields.fields.masks import shown_by


class EncryptedAdminMixin:
    """Shows the words "cannot be opened" where a value cannot be, instead of an error page.

    Put it before `ModelAdmin` or the class of an inline. The other rows of a list are shown; in a
    form, such a field is disabled, and saving the object leaves the stored value alone. Users who
    may view the key see the cause.
    """

    def get_queryset(self, request: Any) -> Any:
        return shown_by(super().get_queryset(request))  # type: ignore[misc]  # of the admin class

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        made = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if made is None or not hasattr(db_field, "to_plaintext"):
            return made
        return disabled_for_masks(made, db_field)


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
