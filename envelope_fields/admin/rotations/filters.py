"""By which the list of runs is filtered."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

KEYS_OFFERED = 30


class KeyOfRunFilter(admin.SimpleListFilter):
    """The runs of one key; the page of a key links here, by its id."""

    title = _("key")
    parameter_name = "key"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        keys = model_admin.get_queryset(request).order_by("master_key__alias", "master_key")
        found = keys.values_list("master_key", "master_key__alias").distinct()[:KEYS_OFFERED]
        return [(str(pk), alias or str(pk)) for pk, alias in found]

    def queryset(self, request: HttpRequest, runs: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return runs
        try:
            return runs.filter(master_key=UUID(value))
        except ValueError:
            return runs.none()
