"""What is said of blind indexes over HTTP, and what requests about them hold."""

from typing import Any

from rest_framework import serializers

from envelope_fields.api import requests, rotations
from envelope_fields.api.fields import KeyName, Strict, answers, takes, time_field
from envelope_fields.models import IndexState, KeyState

_KEY = {"id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1", "alias": "search"}
_RUN = "7f1c52e4-9f0f-4a39-8d4e-0a1a3c7f9d55"
_EXAMPLE = {
    "label": "clinic.patient.email_index", "fields": ["clinic.Patient.email"],
    "state": "filling", "state_changed_at": "2030-03-01T09:30:00Z",
    "created_at": "2030-03-01T09:30:00Z", "next": ["verified", "retired"], "declared": True,
    "unique": True, "normalizer": "email", "normalizer_version": 1, "scope": [], "shared": None,
    "replaces": None,
    "keys": [{**_KEY, "version": 1, "version_id": "5f0c1c1b9d8e7a42"}],
    "verified": True,
    "verification": {
        "run": _RUN, "finished_at": "2030-03-01T09:40:00Z", "rows": 90_000, "wrong": 0,
    },
    "run": None,
}  # fmt: skip
_COUNTED = {
    **_EXAMPLE,
    "rows": [
        {
            "database": "default", "schema": None, "version_id": "5f0c1c1b9d8e7a42",
            "key": "search", "key_id": _KEY["id"], "number": 1, "state": "enabled",
            "current": True, "values": 89_950,
        }
    ],
    "missing": 50,
}  # fmt: skip
_LOOKED = {
    "tables": [
        {
            "label": "clinic.patient.email_index", "database": "default", "schema": None,
            "unique": True, "values": 90_000, "colliding": 1, "unreadable": 0,
            "collisions": [{"row": "17", "other": "4711", "constraint": ""}], "failed": [],
        }
    ]
}  # fmt: skip


class IndexKey(rotations.RunKey):
    """A search key of an index, and the version that its values are under."""

    version = serializers.IntegerField()
    version_id = serializers.CharField()


class Compared(serializers.Serializer[Any]):
    """What the last verification has found."""

    run = serializers.UUIDField()
    finished_at = time_field(allow_null=True)
    rows = serializers.IntegerField()
    wrong = serializers.IntegerField()


@answers("filled", _EXAMPLE)
class IndexContent(serializers.Serializer[Any]):
    """How far an index is, and what it is made of."""

    label = serializers.CharField()  # type: ignore[assignment]  # its name outside
    fields = serializers.ListField(child=serializers.CharField())  # type: ignore[assignment]  # its name outside
    state = serializers.ChoiceField(IndexState.choices)
    state_changed_at = time_field()
    created_at = time_field()
    next = serializers.ListField(
        child=serializers.ChoiceField(IndexState.choices), help_text="States that may follow."
    )
    declared = serializers.BooleanField(help_text="Whether a model has it.")
    unique = serializers.BooleanField()
    normalizer = serializers.CharField()
    normalizer_version = serializers.IntegerField()
    scope = serializers.ListField(child=serializers.CharField())
    shared = serializers.CharField(allow_null=True)
    replaces = serializers.CharField(allow_null=True)
    keys = IndexKey(many=True, help_text="Its search keys, the first 100.")
    verified = serializers.BooleanField(help_text="Whether every row was found right.")
    verification = Compared(allow_null=True)
    run = serializers.UUIDField(allow_null=True, help_text="The run that is not over.")


class IndexRows(serializers.Serializer[Any]):
    """How many rows there are under a key version, in one table."""

    database = serializers.CharField()
    schema = serializers.CharField(allow_null=True)
    version_id = serializers.CharField(allow_null=True)
    key = serializers.CharField(allow_null=True)
    key_id = serializers.UUIDField(allow_null=True)
    number = serializers.IntegerField(allow_null=True)
    state = serializers.ChoiceField(KeyState.choices, allow_null=True)
    current = serializers.BooleanField()
    values = serializers.IntegerField()


@answers("filled", _COUNTED)
class CountedIndex(IndexContent):
    """How far an index is, with its rows, counted now."""

    rows = IndexRows(many=True)
    missing = serializers.IntegerField(
        allow_null=True, help_text="Rows that have values, and no index."
    )


class Collision(serializers.Serializer[Any]):
    """Two rows whose values have the same normal form."""

    row = serializers.CharField()
    other = serializers.CharField()
    constraint = serializers.CharField(
        help_text="The `IndexedUnique` by which they collide; empty for the values alone."
    )


class Unreadable(serializers.Serializer[Any]):
    """A row whose values could not be opened, and why."""

    row = serializers.CharField()
    message = serializers.CharField()


class LookedAt(serializers.Serializer[Any]):
    """What was found in one table."""

    label = serializers.CharField()  # type: ignore[assignment]  # its name outside
    database = serializers.CharField()
    schema = serializers.CharField(allow_null=True)
    unique = serializers.BooleanField()
    values = serializers.IntegerField(help_text="Rows that have a normal form.")
    colliding = serializers.IntegerField()
    unreadable = serializers.IntegerField()
    collisions = Collision(many=True, help_text="The first 100.")
    failed = Unreadable(many=True, help_text="The first 100.")


@answers("a collision", _LOOKED, 200)
class CollisionsContent(serializers.Serializer[Any]):
    """Rows that a unique index would not take beside each other; nothing of their values."""

    tables = LookedAt(many=True)


class IndexQuery(requests.PageQuery):
    """Which indexes."""

    key = KeyName(required=False, help_text="The search key's id, or `alias:` and its alias.")
    state = serializers.ChoiceField(IndexState.choices, required=False)


@takes({"at full speed": {}, "with a rate limit": {"max_rate": 500}})
class NewIndexRun(rotations.RunLimits):
    """Limits of a run; what is left out is without."""


@takes({"once it is verified": {"state": "reading"}})
class NextState(Strict):
    """The state that an index is to have."""

    state = serializers.ChoiceField(IndexState.choices)
