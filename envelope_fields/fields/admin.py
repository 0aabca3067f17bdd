"""Encrypted fields in the admin of a project.

A column of an encrypted field has no header to sort by: Django makes each column of a model a link
that orders by it, and asks no field whether it can. The order would be refused when SQL is made,
and the page be an error. One that moves has a header as long as its column in clear is read. This
is so for every admin class; a mixin shows what cannot be opened.
"""

from collections.abc import Iterable
from functools import wraps
from typing import Any

from django.db.models.constants import LOOKUP_SEP
from django.db.models.sql import Query

from envelope_fields.fields.columns import is_ordered_by_envelopes, orders_nothing
from envelope_fields.fields.forms import disabled_for_masks
from envelope_fields.fields.index.terms import finding_nothing
from envelope_fields.fields.masks import shown_by


class EncryptedAdminMixin:
    """Shows the words "cannot be opened" where a value cannot be, instead of an error page.

    Put it before `ModelAdmin` or the class of an inline. The other rows of a list are shown; in a
    form, such a field is disabled, and saving the object leaves the stored value alone. Users who
    may view the key see the cause.
    """

    model: Any
    get_list_display: Any

    def get_queryset(self, request: Any) -> Any:
        return shown_by(super().get_queryset(request))  # type: ignore[misc]  # of the admin class

    def get_list_select_related(self, request: Any) -> Any:
        chosen = super().get_list_select_related(request)  # type: ignore[misc]  # as above
        columns = [name for name in self.get_list_display(request) if isinstance(name, str)]
        related = [name for name in columns if LOOKUP_SEP in name and self._is_encrypted(name)]
        if not related:
            return chosen
        # What is loaded by itself, for `patient__notes`, would raise. True and False say that
        # Django chooses: it takes the relations that are columns.
        relations = chosen if isinstance(chosen, list | tuple) else self._relations_in(columns)
        return [*relations, *(name.rpartition(LOOKUP_SEP)[0] for name in related)]

    def _is_encrypted(self, name: str) -> bool:
        return is_ordered_by_envelopes(name, Query(self.model))

    def _relations_in(self, columns: list[str]) -> list[str]:
        names = {field.name for field in self.model._meta.fields if field.many_to_one}
        return [name for name in columns if name in names]

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        made = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if made is None or not hasattr(db_field, "to_plaintext"):
            return made
        return disabled_for_masks(made, db_field)


def register() -> None:
    """Have every admin class leave encrypted columns out of what can be sorted by, and search."""
    from django.contrib.admin.options import BaseModelAdmin, ModelAdmin
    from django.contrib.admin.views.main import ChangeList

    for owner, name, narrowed in (
        (BaseModelAdmin, "get_sortable_by", _sortable),
        (ChangeList, "get_ordering_field", _orders_by),
        (ModelAdmin, "get_search_results", _searches),
    ):
        method = getattr(owner, name)
        if not hasattr(method, "__wrapped__"):
            setattr(owner, name, narrowed(method))


def _sortable(get_sortable_by: Any) -> Any:
    @wraps(get_sortable_by)
    def sortable(self: Any, *args: Any, **kwargs: Any) -> Iterable[Any]:
        names = get_sortable_by(self, *args, **kwargs)
        return [name for name in names if not orders_nothing(name, Query(self.model))]

    return sortable


def _searches(get_search_results: Any) -> Any:
    """Have a term find nothing in an index where its normal form is empty: others may have it."""

    @wraps(get_search_results)
    def searches(self: Any, request: Any, queryset: Any, search_term: Any) -> Any:
        with finding_nothing():
            return get_search_results(self, request, queryset, search_term)

    return searches


def _orders_by(get_ordering_field: Any) -> Any:
    @wraps(get_ordering_field)
    def orders_by(self: Any, *args: Any, **kwargs: Any) -> Any:
        order = get_ordering_field(self, *args, **kwargs)
        # None is how Django says that a column cannot be sorted by, whatever the address asks.
        return None if orders_nothing(order, self.root_queryset.query) else order

    return orders_by
