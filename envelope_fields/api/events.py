"""The audit trail, to be read."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers
from rest_framework.response import Response

from envelope_fields import audit
from envelope_fields.api import rights
from envelope_fields.api.fields import KeyName, Moment, Text
from envelope_fields.api.naming import alias_in, named_key
from envelope_fields.api.operations import operation
from envelope_fields.api.pages import EventPages, EventQuery
from envelope_fields.api.view import ApiView
from envelope_fields.conf import configuration
from envelope_fields.models import AuditEvent, AuditOutcome, MasterKey
from envelope_fields.policy import Action, current_principal, keys_open_to

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
class Said(serializers.JSONField):
    """What an event says of before and after."""


@extend_schema_serializer(examples=[OpenApiExample("a rotation", _EXAMPLE, response_only=True)])
class EventContent(serializers.Serializer[Any]):
    """An event of the audit trail; `head` is what `verify_audit_trail --head` takes."""

    number = serializers.IntegerField()
    occurred_at = Moment()
    action = serializers.CharField()
    outcome = serializers.ChoiceField(AuditOutcome.choices)
    actor_type = serializers.CharField()
    actor_id = serializers.CharField(allow_blank=True)
    actor_name = serializers.CharField(allow_blank=True)
    key_id = serializers.UUIDField(allow_null=True)
    key_alias = serializers.CharField(allow_blank=True)
    version_number = serializers.IntegerField(allow_null=True)
    before = Said()
    after = Said()
    address = serializers.CharField(allow_blank=True)
    request_id = serializers.CharField(allow_blank=True)
    head = serializers.SerializerMethodField()

    def get_head(self, event: AuditEvent) -> str:
        return f"{event.number}:{bytes(event.mac).hex()}"


class EventPick(EventQuery):
    """Which events."""

    key = KeyName(required=False, help_text="The key's id, or `alias:` and its alias.")
    actor = Text(required=False, help_text="The name or the primary key of who did it.")
    action = Text(required=False, max_length=64, help_text="What was done, such as `rotate`.")
    outcome = serializers.ChoiceField(AuditOutcome.choices, required=False)
    request_id = Text(required=False)
    since = Moment(required=False, help_text="From then on.")
    until = Moment(required=False, help_text="Before then.")


class Events(ApiView):
    """The events of the keys whose trail one may see, and those that are of no key."""

    pagination_class = EventPages

    @operation("list_events", {200: EventContent(many=True)}, query=EventPick)
    def get(self, request: Any) -> Response:
        """List events, newest first; with `after`, those after an event, oldest first."""
        rights.permit(request, "view_auditevent")
        audit.store_denied()
        return self.paged(_picked(_seen(), self.query), EventContent)


def _seen() -> QuerySet[AuditEvent]:
    using = configuration().database
    keys = MasterKey.objects.using(using)
    keys = keys.filter(keys_open_to(Action.VIEW_AUDIT, current_principal(), using=using))
    of_no_key = Q(key_id__isnull=True)
    events = AuditEvent.objects.using(using)
    return events.filter(Q(key_id__in=keys.values("pk")) | of_no_key)


def _picked(events: QuerySet[AuditEvent], query: dict[str, Any]) -> QuerySet[AuditEvent]:
    columns = {"action": "action", "outcome": "outcome", "request_id": "request_id",
               "since": "occurred_at__gte", "until": "occurred_at__lt"}  # fmt: skip
    events = events.filter(**{columns[name]: query[name] for name in columns if name in query})
    if "actor" in query:
        events = events.filter(Q(actor_name=query["actor"]) | Q(actor_id=query["actor"]))
    return events.filter(_of_key(query["key"])) if "key" in query else events


def _of_key(named: str) -> Q:
    """Return the condition for the events of a key, or of what had the alias once."""
    key = named_key(named)
    if key is not None:
        return Q(key_id=key.pk)
    alias = alias_in(named)
    return Q(key_alias=alias) if alias else Q(key_id=named)
