"""Crypto-shredding: a key is destroyed together with its values, in two calls.

The first disables it. As soon as every process knows, the second counts and destroys it; whoever
confirms agrees to the numbers that they were shown, and to no more.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from math import ceil
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers
from rest_framework.response import Response

from envelope_fields import lifecycle
from envelope_fields.api import rights, versions
from envelope_fields.api.acts import ActView, Row
from envelope_fields.api.fields import Moment, Strict, Text, Whole
from envelope_fields.api.naming import named_key
from envelope_fields.api.operations import Operation
from envelope_fields.databases import clock
from envelope_fields.lifecycle import Act, ShredCertificate, ShredConfirmation
from envelope_fields.lifecycle.acts import ACTIONS
from envelope_fields.lifecycle.certificates import WHAT_REMAINS, Place
from envelope_fields.models import KeyState

_PLACE = {"database": "default", "model": "clinic.Patient", "field": "notes", "values": 12}


class PlaceContent(serializers.Serializer[Any]):
    """How many values of a field there are, in one database."""

    database = serializers.CharField()
    model = serializers.CharField()
    field = serializers.CharField()
    values = serializers.IntegerField()


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "twelve values",
            {
                "name": "billing",
                "places": [_PLACE],
                "total": 12,
                "last_use_by_kms": None,
                "ready_at": None,
            },
            response_only=True,
        )
    ]
)
class Shredded(serializers.Serializer[Any]):
    """What shredding would destroy; `ready_at` is null until the first call."""

    name = serializers.CharField()
    places = PlaceContent(many=True)
    total = serializers.IntegerField()
    last_use_by_kms = Moment(allow_null=True)
    ready_at = Moment(allow_null=True)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "twelve values",
            {
                "event": 42,
                "key_id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1",
                "name": "billing",
                "versions": {"1": "5f0c1c1b9d8e7a42"},
                "places": [_PLACE],
                "total": 12,
                "destroyed_at": "2030-03-01T09:30:00Z",
                "actor": "olga",
                "last_use_by_kms": None,
                "not_counted": [],
                "remains": WHAT_REMAINS,
            },
            response_only=True,
        )
    ]
)
class Certificate(serializers.Serializer[Any]):
    """That a key was destroyed together with its values; the audit trail says the same."""

    event = serializers.IntegerField()
    key_id = serializers.CharField()
    name = serializers.CharField()
    versions = serializers.DictField(child=serializers.CharField())
    places = PlaceContent(many=True)
    total = serializers.IntegerField()
    destroyed_at = Moment()
    actor = serializers.CharField()
    last_use_by_kms = serializers.CharField(allow_null=True)
    not_counted = serializers.ListField(child=serializers.CharField())
    remains = serializers.CharField()


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "a minute",
            {"ready_at": "2030-03-01T09:31:00Z"},
            response_only=True,
            status_codes=["202"],
        )
    ]
)
class Waiting(serializers.Serializer[Any]):
    """It is disabled; from `ready_at` on, the same call destroys it."""

    ready_at = Moment()


class AgreedPlace(Strict):
    """How many values of a field one agrees to lose."""

    database = Text()
    model = Text()
    field = Text()
    values = Whole(min_value=0, max_value=2**63 - 1)


@extend_schema_serializer(
    examples=[
        OpenApiExample("as shown", {"confirm": "billing", "places": [_PLACE]}, request_only=True)
    ]
)
class Agreement(Strict):
    """The key's name, and the places as they were shown."""

    confirm = Text()
    places = AgreedPlace(many=True)


class Shred(ActView):
    """Destroy a key or version together with all values under it, in two calls.

    The first call disables it (202), and says from when on the second one destroys it (200).
    """

    act = Act.SHRED
    takes = Agreement
    refusals = (409, 412, 503)

    def get(self, request: Any, id: str, number: int | None = None) -> Response:
        """Read what would be destroyed, to agree to it."""
        key = rights.see(named_key(id), ACTIONS[self.act])
        rights.permit_act(request, key, self.act)
        row = key if number is None else versions.version_of(key, number)
        shown = lifecycle.shred_confirmation(row)
        content = {
            **asdict(shown),
            "places": [place._asdict() for place in shown.places],
            "total": shown.total,
            "ready_at": lifecycle.ready_to_shred_at(row),
        }
        return Response(Shredded(content).data)

    def do(self, row: Row, given: dict[str, Any]) -> Response:
        places = tuple(Place(**place) for place in given["places"])
        agreed = ShredConfirmation(given["confirm"], places)
        if row.state == KeyState.DESTROYED or _is_ready(row):
            return _certified(lifecycle.finish_shredding(row, confirm=agreed))
        return _waiting(lifecycle.begin_shredding(row, confirm=agreed))

    def said_of(self, method: str) -> Operation:
        if method in ("GET", "HEAD"):
            name = self.name.replace("shred_", "read_shredding_of_")
            return Operation(name, {200: Shredded}, refusals=(503,))
        if method != "POST":
            return super().said_of(method)
        return Operation(
            self.name, {200: Certificate, 202: Waiting}, self.takes, refusals=self.refusals,
            headers={202: ("Retry-After",)}, takes_if_match=True,
        )  # fmt: skip


def _is_ready(row: Row) -> bool:
    ready = lifecycle.ready_to_shred_at(row)
    return ready is not None and ready <= clock.now()


def _certified(certificate: ShredCertificate) -> Response:
    content = {
        **asdict(certificate),
        "places": [place._asdict() for place in certificate.places],
        "total": certificate.total,
    }
    return Response(Certificate(content).data)


def _waiting(ready: datetime) -> Response:
    seconds = max(ceil((ready - clock.now()).total_seconds()), 0)
    content = Waiting({"ready_at": ready}).data
    return Response(content, status=202, headers={"Retry-After": str(seconds)})
