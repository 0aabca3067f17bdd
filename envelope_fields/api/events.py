"""The audit trail, to be read."""

from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import pagination, serializers
from rest_framework.response import Response

from envelope_fields import audit
from envelope_fields.api import fields, requests, views
from envelope_fields.api.schema import endpoint
from envelope_fields.audit.events import event_content
from envelope_fields.lifecycle.keys import addressed_key, alias_in, open_keys
from envelope_fields.models import AuditEvent, AuditOutcome
from envelope_fields.policy import Action

_EXAMPLE = {
    "number": 41, "occurred_at": "2030-03-01T09:30:00.123000Z", "action": "rotate",
    "outcome": "done", "actor_type": "auth.user", "actor_id": "12", "actor_name": "olga",
    "key_id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1", "key_alias": "billing",
    "version_number": None, "before": {"current_version": 1}, "after": {"current_version": 2},
    "address": "192.0.2.7", "request_id": "deploy-1742", "head": "41:0f3a…",
}  # fmt: skip


@extend_schema_field({"type": "object", "additionalProperties": {}})
class State(serializers.JSONField):
    """What an event has of before and after."""


@fields.answers("a rotation", _EXAMPLE)
class EventContent(serializers.Serializer[Any]):
    """An event of the audit trail; `head` is what `verify_audit_trail --head` takes."""

    number = serializers.IntegerField()
    occurred_at = fields.time_field()
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


class EventFilter(fields.Query):
    """Which events, from where on."""

    page_size = fields.IntegerInQuery(min_value=1, max_value=requests.LARGEST_PAGE, default=50)
    before = fields.IntegerInQuery(min_value=0, required=False)
    after = fields.IntegerInQuery(min_value=0, required=False)
    key = fields.KeyName(required=False, help_text="The key's id, or `alias:` and its alias.")
    actor = fields.Text(
        required=False, help_text="The name or the primary key of the user who did it."
    )
    action = fields.Text(
        required=False, max_length=64, help_text="What was done, such as `rotate`."
    )
    outcome = serializers.ChoiceField(AuditOutcome.choices, required=False)
    request_id = fields.Text(required=False)
    since = fields.DateTime(required=False, help_text="From then on.")
    until = fields.DateTime(required=False, help_text="Before then.")


class EventPages(pagination.BasePagination):
    """Newest first, or from an event on, oldest first: pages that new events do not move."""

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> Any:
        query = view.query
        self.request, size = request, query["page_size"]
        self.is_forwards = "after" in query
        if "before" in query:
            queryset = queryset.filter(number__lt=query["before"])
        if self.is_forwards:
            queryset = queryset.filter(number__gt=query["after"])
        found = list(queryset.order_by("number" if self.is_forwards else "-number")[: size + 1])
        self.last = found[size - 1].number if len(found) > size else None
        return found[:size]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._next(), "results": data})

    def get_paginated_response_schema(self, schema: Any) -> Any:
        more = requests.nullable_link("https://example.com/api/v1/events/?before=40")
        return requests.object_of({"next": more, "results": schema})

    def get_schema_operation_parameters(self, view: Any) -> list[Any]:
        return []

    def _next(self) -> str | None:
        if self.last is None:
            return None
        query = self.request.query_params.dict()
        query["after" if self.is_forwards else "before"] = str(self.last)
        return f"{self.request.build_absolute_uri(self.request.path)}?{urlencode(query)}"


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
