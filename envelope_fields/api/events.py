"""The audit trail, to be read."""

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response

from envelope_fields import audit
from envelope_fields.api import views
from envelope_fields.api.fields import DateTime, KeyName, Text, answers, time_field
from envelope_fields.api.requests import EventPages, EventQuery
from envelope_fields.api.schema import endpoint
from envelope_fields.audit.events import event_content
from envelope_fields.lifecycle.keys import addressed_key, alias_in, open_keys
from envelope_fields.models import AuditEvent, AuditOutcome
from envelope_fields.policy import Action

_EXAMPLE = {
    "number": 41,
    "occurred_at": "2030-03-01T09:30:00.123000Z",
    "action": "rotate",
    "outcome": "done",
    "actor_type": "auth.user",
    "actor_id": "12",
    "actor_name": "olga",
    "key_id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1",
    "key_alias": "billing",
    "version_number": None,
    "before": {"current_version": 1},
    "after": {"current_version": 2},
    "address": "192.0.2.7",
    "request_id": "deploy-1742",
    "head": "41:0f3a…",
}


@extend_schema_field({"type": "object", "additionalProperties": {}})
class State(serializers.JSONField):
    """What an event has of before and after."""


@answers("a rotation", _EXAMPLE)
class EventContent(serializers.Serializer[Any]):
    """An event of the audit trail; `head` is what `verify_audit_trail --head` takes."""

    number = serializers.IntegerField()
    occurred_at = time_field()
    action = serializers.CharField()
    outcome = serializers.ChoiceField(AuditOutcome.choices)
    actor_type = serializers.CharField()
    actor_id = serializers.CharField(allow_blank=True)
    actor_name = serializers.CharField(allow_blank=True)
    key_id = serializers.UUIDField(allow_null=True)
    key_alias = serializers.CharField(allow_blank=True)
    version_number = serializers.IntegerField(allow_null=True)
    before = State()
    after = State()
    address = serializers.CharField(allow_blank=True)
    request_id = serializers.CharField(allow_blank=True)
    head = serializers.CharField()


class EventFilter(EventQuery):
    """Which events."""

    key = KeyName(required=False, help_text="The key's id, or `alias:` and its alias.")
    actor = Text(required=False, help_text="The name or the primary key of the user who did it.")
    action = Text(required=False, max_length=64, help_text="What was done, such as `rotate`.")
    outcome = serializers.ChoiceField(AuditOutcome.choices, required=False)
    request_id = Text(required=False)
    since = DateTime(required=False, help_text="From then on.")
    until = DateTime(required=False, help_text="Before then.")


class Events(views.ApiView):
    """The events of the keys whose trail the user may see, and those that are of no key."""

    pagination_class = EventPages

    @endpoint("list_events", {200: EventContent(many=True)}, query=EventFilter)
    def get(self, request: Any) -> Response:
        """List events, newest first; with `after`, those after an event, oldest first."""
        views.permit(request, "view_auditevent")
        audit.store_denied()
        keys = open_keys(Action.VIEW_AUDIT)
        events = AuditEvent.objects.using(keys.db)
        seen = events.filter(Q(key_id__in=keys.values("pk")) | Q(key_id__isnull=True))
        return self.paged(_picked(seen, self.query), EventContent, _contents)


def _contents(events: list[AuditEvent]) -> list[dict[str, Any]]:
    return [event_content(event) for event in events]


def _picked(events: QuerySet[AuditEvent], query: dict[str, Any]) -> QuerySet[AuditEvent]:
    columns = {"action": "action", "outcome": "outcome", "request_id": "request_id",
               "since": "occurred_at__gte", "until": "occurred_at__lt"}  # fmt: skip
    events = events.filter(**{columns[name]: query[name] for name in columns if name in query})
    if "actor" in query:
        events = events.filter(Q(actor_name=query["actor"]) | Q(actor_id=query["actor"]))
    return events.filter(_of_key(query["key"])) if "key" in query else events


def _of_key(address: str) -> Q:
    """Return the condition for the events of a key, or of what had the alias once."""
    key = addressed_key(address)
    if key is not None:
        return Q(key_id=key.pk)
    alias = alias_in(address)
    return Q(key_alias=alias) if alias else Q(key_id=address)
