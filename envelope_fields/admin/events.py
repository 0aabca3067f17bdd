"""The audit trail, to be read: no user adds, changes or deletes here, superusers neither."""

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from envelope_fields import audit
from envelope_fields.admin.requests import ReadOnlyAdmin
from envelope_fields.audit.events import Head, actor_text
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.lifecycle.keys import named_key, open_keys
from envelope_fields.lifecycle.representation import in_words
from envelope_fields.models import AuditEvent
from envelope_fields.policy import Action


class KeyFilter(admin.SimpleListFilter):
    """The events of one key; the page of a key links here."""

    title = _("key")
    parameter_name = "key"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = self.used_parameters.get(self.parameter_name)
        return [(chosen, chosen)] if chosen else []

    def has_output(self) -> bool:
        return bool(self.value())

    def queryset(self, request: HttpRequest, events: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return events
        try:
            key = named_key(value)
        except MasterKeyNotFound:
            return events.filter(key_alias=value)
        return events.filter(key_id=key.pk)


class ActionFilter(admin.SimpleListFilter):
    """By what was done; only what is in the trail that the user sees is offered."""

    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        seen = model_admin.get_queryset(request)
        return [(action, in_words(action)) for action in _actions(seen.order_by("action"))]

    def queryset(self, request: HttpRequest, events: QuerySet[Any]) -> QuerySet[Any]:
        return events.filter(action=self.value()) if self.value() else events


def _actions(events: QuerySet[AuditEvent]) -> Iterator[str]:
    """Yield each action once: with an index, a query of each takes less than one of all events."""
    action = events.values_list("action", flat=True).first()
    while action is not None:
        yield action
        action = events.filter(action__gt=action).values_list("action", flat=True).first()


class AuditEventAdmin(ReadOnlyAdmin):
    """Events of the keys whose trail the user may see, newest first."""

    list_display = ("number", "occurred_at", "action", "outcome", "actor", "key_alias", "version")
    list_filter = ("outcome", ActionFilter, KeyFilter, "occurred_at")
    search_fields = ("actor_name", "actor_id", "key_alias", "request_id", "address")
    show_full_result_count = False  # beside that of what is shown: it reads the whole trail
    search_help_text = _("Actor, key, request id or address")
    fields: ClassVar = (
        ("number", "occurred_at"), ("action", "outcome"), "actor", ("key_alias", "key_id"),
        "version", "state_before", "state_after", ("address", "request_id"), "chained",
    )  # fmt: skip
    readonly_fields = (
        "number", "occurred_at", "action", "outcome", "actor", "key_alias", "key_id", "version",
        "state_before", "state_after", "address", "request_id", "chained",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEvent]:
        seen = open_keys(Action.VIEW_AUDIT, request.user)
        of_no_key = Q(key_id__isnull=True)
        events = AuditEvent.objects.using(seen.db)
        return events.filter(Q(key_id__in=seen.values("pk")) | of_no_key)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        audit.store_denied()
        return super().changelist_view(request, extra_context)

    @admin.display(description=_("actor"), ordering="actor_name")
    def actor(self, event: AuditEvent) -> str:
        return actor_text(event)

    @admin.display(description=_("version"))
    def version(self, event: AuditEvent) -> str:
        return "" if event.version_number is None else str(event.version_number)

    @admin.display(description=_("before"))
    def state_before(self, event: AuditEvent) -> SafeString:
        return _as_text(event.before)

    @admin.display(description=_("after"))
    def state_after(self, event: AuditEvent) -> SafeString:
        return _as_text(event.after)

    @admin.display(description=_("head"))
    def chained(self, event: AuditEvent) -> str:
        """Show what `verify_audit_trail --head` takes."""
        return str(Head.of(event))


def _as_text(state: Any) -> SafeString:
    if not state:
        return SafeString("")
    return format_html("<pre>{}</pre>", json.dumps(state, indent=2, ensure_ascii=False))
