"""The list of keys: what is protected by what."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from envelope_fields.admin import counts, due, rights
from envelope_fields.models import KeyState, MasterKey
from envelope_fields.policy import Action


class DueFilter(admin.SimpleListFilter):
    """Keys whose rotation period is over."""

    title = _("rotation")
    parameter_name = "rotation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("due", _("due")), ("periodic", _("has a period")), ("demand", _("on demand"))]

    def queryset(self, request: HttpRequest, keys: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "due":
            return due.due(keys)
        if self.value() in ("periodic", "demand"):
            return keys.filter(rotation_period__isnull=self.value() == "demand")
        return keys


class KeyList(admin.ModelAdmin):  # type: ignore[type-arg]  # as ModelAdmin
    """The keys that one may see, with their versions, and with how many values are under them."""

    list_display = ("name", "state", "versions", "rotated", "next_due")
    list_filter = ("state", "managed_by", DueFilter)
    search_fields = ("alias", "description")
    ordering = ("alias", "pk")
    list_per_page = 50
    show_full_result_count = False
    actions = None
    change_list_template = "admin/envelope_fields/masterkey/change_list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[MasterKey]:
        keys = rights.open_keys(request, Action.DESCRIBE)
        return due.with_versions(keys).order_by(*self.ordering)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        count = counts.for_a_page()
        # For the columns of this request alone: the admin itself serves all requests.
        request._envelope_fields_usage = count.of_keys()  # type: ignore[attr-defined]  # a name of ours
        return super().changelist_view(request, {**(extra_context or {}), "count": count})

    def get_list_display(self, request: HttpRequest) -> Any:
        usage = getattr(request, "_envelope_fields_usage", {})
        counted = (_values_column(usage), _oldest_column(usage))
        return (*self.list_display[:3], *counted, *self.list_display[3:])

    @admin.display(description=_("key"), ordering="alias")
    def name(self, key: MasterKey) -> str:
        return str(key)

    @admin.display(description=_("versions"), ordering="version_count")
    def versions(self, key: Any) -> Any:
        return key.version_count

    @admin.display(description=_("last rotated"), ordering="rotated_at")
    def rotated(self, key: Any) -> Any:
        return key.rotated_at

    @admin.display(description=_("next due"), ordering="due_at")
    def next_due(self, key: Any) -> Any:
        return key.due_at if key.state in (KeyState.ENABLED, KeyState.DISABLED) else None


def _values_column(usage: dict[Any, counts.Usage] | None) -> Any:
    @admin.display(description=_("values"))
    def values(key: MasterKey) -> str | None:
        if usage is None:
            return None
        return number_format(usage.get(key.pk, counts.Usage()).values, force_grouping=True)

    return values


def _oldest_column(usage: dict[Any, counts.Usage] | None) -> Any:
    @admin.display(description=_("oldest in use"))
    def oldest(key: MasterKey) -> Any:
        return (usage or {}).get(key.pk, counts.Usage()).oldest

    return oldest
