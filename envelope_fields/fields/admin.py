"""Encrypted fields in the admin of a project.

A column of an encrypted field has no header to sort by: Django makes each column of a model a link
that orders by it, and asks no field whether it can. The order would be refused when SQL is made,
and the page be an error. One that moves has a header as long as its column in clear is read. This
is so for every admin class, and so is that masks are text; a mixin shows what cannot be opened.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.db.models import F
from django.db.models.constants import LOOKUP_SEP
from django.db.models.sql import Query
from django.template.response import SimpleTemplateResponse

from envelope_fields.fields.columns import encrypted_inside, orders_nothing
from envelope_fields.fields.forms import disabled_for_masks
from envelope_fields.fields.masks import leaving_masks, showing, shown_by
from envelope_fields.fields.patches import extend


class EncryptedAdminMixin:
    """Shows the words "cannot be opened" where a value cannot be, instead of an error page.

    Put it before `ModelAdmin` or the class of an inline. The other rows of a list are shown, and so
    are related objects whose `str()` has such a value; in a form, such a field is disabled, and
    saving the object leaves the stored value alone. Users who may view the key see the cause.
    """

    model: Any
    get_list_display: Any

    def get_queryset(self, request: Any) -> Any:
        return shown_by(super().get_queryset(request))  # type: ignore[misc]  # of the admin class

    def changelist_view(self, *args: Any, **kwargs: Any) -> Any:
        return _rendered_shown(super().changelist_view(*args, **kwargs))  # type: ignore[misc]  # as above

    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        return _rendered_shown(super().changeform_view(*args, **kwargs))  # type: ignore[misc]  # as above

    def get_changelist_instance(self, *args: Any, **kwargs: Any) -> Any:
        with showing():  # the choices of its filters
            return super().get_changelist_instance(*args, **kwargs)  # type: ignore[misc]  # as above

    def get_deleted_objects(self, *args: Any, **kwargs: Any) -> Any:
        with showing():
            return super().get_deleted_objects(*args, **kwargs)  # type: ignore[misc]  # as above

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
        return encrypted_inside(F(name), Query(self.model)) is not None

    def _relations_in(self, columns: list[str]) -> list[str]:
        names = {field.name for field in self.model._meta.fields if field.many_to_one}
        return [name for name in columns if name in names]

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        made = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc]
        if made is None or not hasattr(db_field, "to_plaintext"):
            return made
        return disabled_for_masks(made, db_field)


def _rendered_shown(response: Any) -> Any:
    """Return a response whose template shows what it loads, such as the choices of a relation."""
    if isinstance(response, SimpleTemplateResponse):
        vars(response)["render"] = partial(_render_shown, response.render)
    return response


def _render_shown(render: Any) -> Any:
    with showing():
        return render()


def register() -> None:
    """Have every admin class show masks, and sort by no encrypted column."""
    from django.contrib.admin import helpers, utils
    from django.contrib.admin.options import BaseModelAdmin
    from django.contrib.admin.templatetags import admin_list
    from django.contrib.admin.views.main import ChangeList

    extend(BaseModelAdmin, "get_sortable_by", _sortable)
    extend(ChangeList, "get_ordering_field", _orders_by)
    extend(admin_list, "_boolean_icon", leaving_masks)
    for module in (utils, admin_list, helpers):
        extend(module, "display_for_field", leaving_masks)


def _sortable(get_sortable_by: Any) -> Any:
    def sortable(self: Any, *args: Any, **kwargs: Any) -> Iterable[Any]:
        names = get_sortable_by(self, *args, **kwargs)
        return [name for name in names if not orders_nothing(name, Query(self.model))]

    return sortable


def _orders_by(get_ordering_field: Any) -> Any:
    def orders_by(self: Any, *args: Any, **kwargs: Any) -> Any:
        order = get_ordering_field(self, *args, **kwargs)
        # None is how Django says that a column cannot be sorted by, whatever the address asks.
        return None if orders_nothing(order, self.root_queryset.query) else order

    return orders_by
