"""The census of a key: what is stored under each of its versions, and where."""

from typing import Any

from rest_framework import serializers
from rest_framework.response import Response

from envelope_fields import census
from envelope_fields.api import requests, views
from envelope_fields.api.fields import answers, time_field
from envelope_fields.api.schema import endpoint
from envelope_fields.audit import uses as key_uses
from envelope_fields.census import representation
from envelope_fields.census.values import key_versions
from envelope_fields.models import KeyState

_VERSION = {
    "version_id": "5f0c1c1b9d8e7a42", "key": "billing",
    "key_id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1", "number": 2, "state": "enabled",
    "current": True,
}  # fmt: skip
_ROW = {
    "database": "default", "schema": None, "model": "clinic.Patient", "field": "notes",
    **_VERSION, "values": 12, "history": 0, "is_index": False, "format": "",
}  # fmt: skip
_REASON = (
    "a table that no model declares, such as a detached partition or a copy; it holds 3 values "
    "under key versions that are known"
)
_EXAMPLE = {
    "rows": [_ROW], "totals": [{**_VERSION, "values": 12}], "total": 12,
    "last_use": "2030-03-01T09:30:00Z", "last_use_by_kms": None,
    "not_counted": [
        {"database": "default", "location": "clinic_patient_2019.notes", "reason": _REASON}
    ],
}  # fmt: skip


class VersionTotal(serializers.Serializer[Any]):
    """How many values there are under a version."""

    version_id = serializers.CharField()
    key = serializers.CharField(allow_null=True)
    key_id = serializers.UUIDField()
    number = serializers.IntegerField()
    state = serializers.ChoiceField(KeyState.choices)
    current = serializers.BooleanField()
    values = serializers.IntegerField()


class FieldCount(VersionTotal):
    """How many values of a field there are under a version, in one database."""

    database = serializers.CharField()
    schema = serializers.CharField(
        allow_null=True, help_text="Null where encrypted columns are in one schema, or in none."
    )
    model = serializers.CharField()
    field = serializers.CharField()
    history = serializers.IntegerField(help_text="How many are in rows of the past alone.")
    is_index = serializers.BooleanField(help_text="Whether they are MACs of a blind index.")
    format = serializers.CharField(
        allow_blank=True,
        help_text="The package whose format the values are in; empty where they are envelopes.",
    )


class NotCounted(serializers.Serializer[Any]):
    """A place that may hold values, and that could not be counted, or not fully."""

    database = serializers.CharField()
    location = serializers.CharField(
        allow_blank=True, help_text="Empty where it is about the whole database."
    )
    reason = serializers.CharField()


@answers("twelve values", _EXAMPLE)
class CensusContent(serializers.Serializer[Any]):
    """What is stored under a key. What kms gave out is not counted: see its last use."""

    rows = FieldCount(many=True)
    totals = VersionTotal(many=True)
    total = serializers.IntegerField()
    last_use = time_field(allow_null=True)
    last_use_by_kms = time_field(allow_null=True)
    not_counted = NotCounted(
        many=True, help_text="What may hold values of any key, and was not counted for certain."
    )


class Census(views.ApiView):
    """What is stored under a key, counted now: every encrypted column is read."""

    own_throttle_scope = requests.CENSUS

    @endpoint("read_census", {200: CensusContent}, refusals=(503,))
    def get(self, request: Any, id: str) -> Response:
        """Count what is stored under a key."""
        key = views.seen_key(id)
        rows = census.census(key)
        totals = representation.totals(rows, key_versions(key))
        content = {
            **representation.census_content(rows, totals, census.not_counted()),
            "total": sum(row.values for row in rows),
            "last_use": key_uses.last_use(key),
            "last_use_by_kms": key_uses.last_use_by_kms(key),
        }
        return Response(CensusContent(content).data)
