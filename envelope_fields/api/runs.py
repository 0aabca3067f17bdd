"""Rotations as JSON, as the commands have them, and the name of a start (`Idempotency-Key`)."""

import re
from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from envelope_fields.api.fields import Integer, KeyName, Number, Strict, Text, in_ecma, time_field
from envelope_fields.api.problems import IDEMPOTENCY_KEY
from envelope_fields.api.requests import PageQuery
from envelope_fields.jobs.dispatch import NOT_REPEATED, IdempotencyKey
from envelope_fields.jobs.job import BATCH_SIZE
from envelope_fields.keyring.transfer import WRAPS_PER_PREFIX
from envelope_fields.models import RotationKind, RotationState
from envelope_fields.policy import current_principal

LONGEST = 200
# A String of structured fields, as draft-ietf-httpapi-idempotency-key-header has it; or the same
# without its quotes, as many clients send it.
PATTERN = rf'\A(?:"(?:[ !#-\[\]-~]|\\["\\]){{1,{LONGEST}}}"|[A-Za-z0-9._:/+=@-]{{1,{LONGEST}}})\Z'
_PATTERN = re.compile(PATTERN)
_ESCAPED = re.compile(r"\\(.)")
NAME_OF_START = OpenApiParameter(
    IDEMPOTENCY_KEY,
    {"type": "string", "pattern": in_ecma(PATTERN)},
    OpenApiParameter.HEADER,
    description=(
        "A name for this start. Sent again with the same body, it is answered with the first run; "
        "with another body it is refused (422)."
    ),
    examples=[OpenApiExample("of a deployment", '"deploy-1742"')],
)

_FIELD = {"database": "default", "schema": None, "field": "clinic.Patient.notes"}
_NUMBERS = {"total": 90_000, "moved": 60_000, "skipped": 3, "failed": 1, "left": 29_996}
_EXAMPLE = {
    "id": "7f1c52e4-9f0f-4a39-8d4e-0a1a3c7f9d55",
    "kind": "rewrap",
    "key": {"id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1", "alias": "billing"},
    "state": "running",
    "versions": [],
    "fields": ["clinic.Patient.notes"],
    "database": None,
    "actor": {"type": "auth.user", "id": "12", "name": "olga"},
    "created_at": "2030-03-01T09:30:00Z",
    "seen_at": "2030-03-01T09:31:00Z",
    "finished_at": None,
    "error": None,
    **_NUMBERS,
    "rate": 1000.0,
    "seconds_left": 30,
    "progress": [{**_FIELD, **_NUMBERS}],
}
_FAILURE = {
    **_FIELD,
    "row": "4711",
    "version_id": "5f0c1c1b9d8e7a42",
    "cause": "UnwrapFailed",
    "message": "its data key does not open: altered, or moved here from another place",
}


class RunKey(serializers.Serializer[Any]):
    """The key whose values are moved."""

    id = serializers.UUIDField()
    alias = serializers.CharField(allow_null=True)


class RunKeyNumbers(RunKey):
    """One of several keys whose values are moved."""

    total = serializers.IntegerField(help_text="Values to look at, as it began.")
    remaining = serializers.IntegerField(help_text="Values that were there when last counted.")


class RunActor(serializers.Serializer[Any]):
    """On whose behalf they are moved."""

    type = serializers.CharField()
    id = serializers.CharField(allow_blank=True)
    name = serializers.CharField(allow_blank=True)


class FieldNumbers(serializers.Serializer[Any]):
    """How far a rotation is with one field."""

    database = serializers.CharField()
    schema = serializers.CharField(allow_null=True)
    field = serializers.CharField()
    total = serializers.IntegerField(help_text="Values to look at, as it began.")
    moved = serializers.IntegerField()
    skipped = serializers.IntegerField(help_text="Another connection wrote or locked them.")
    failed = serializers.IntegerField(help_text="They could not be opened.")
    left = serializers.IntegerField()


@extend_schema_serializer(
    examples=[
        OpenApiExample("under way", _EXAMPLE, response_only=True, status_codes=["200", "202"])
    ]
)
class RunContent(serializers.Serializer[Any]):
    """What a rotation is to do, by whom, and how far it is."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(RotationKind.choices)
    key = RunKey(allow_null=True, help_text="Null where it is about several.")
    keys = RunKeyNumbers(many=True, required=False, help_text="Where it is about several.")
    state = serializers.ChoiceField(RotationState.choices)
    versions = serializers.ListField(child=serializers.IntegerField())
    fields = serializers.ListField(child=serializers.CharField())  # type: ignore[assignment]  # its name outside
    database = serializers.CharField(allow_null=True)
    actor = RunActor()
    created_at = time_field()
    seen_at = time_field(allow_null=True, help_text="When it was last worked on.")
    finished_at = time_field(allow_null=True)
    error = serializers.CharField(allow_null=True)
    total = serializers.IntegerField()
    moved = serializers.IntegerField()
    skipped = serializers.IntegerField()
    failed = serializers.IntegerField()
    left = serializers.IntegerField()
    rate = serializers.FloatField(help_text="Values a second.")
    seconds_left = serializers.IntegerField(allow_null=True)
    progress = FieldNumbers(many=True)


@extend_schema_serializer(examples=[OpenApiExample("a failure", _FAILURE, response_only=True)])
class FailureContent(serializers.Serializer[Any]):
    """A value that could not be moved, and why; nothing of the value."""

    database = serializers.CharField()
    schema = serializers.CharField(allow_null=True)
    field = serializers.CharField()
    row = serializers.CharField(help_text="Its primary key.")
    version_id = serializers.CharField()
    cause = serializers.CharField()
    message = serializers.CharField(allow_blank=True)


@extend_schema_serializer(
    examples=[
        OpenApiExample("all of a key", {"key": "alias:billing"}, request_only=True),
        OpenApiExample(
            "after a leak, with a rate limit",
            {"key": "alias:billing", "kind": "re_encrypt", "versions": [1], "max_rate": 500},
            request_only=True,
        ),
    ]
)
class NewRun(Strict):
    """A rotation to be started; what is left out is all, and without a rate limit."""

    key = KeyName()
    kind = serializers.ChoiceField(RotationKind.choices, default=RotationKind.REWRAP)
    versions = serializers.ListField(
        child=Integer(min_value=1, max_value=2**31 - 1), default=list, max_length=1000
    )
    fields = serializers.ListField(  # type: ignore[assignment]  # its name outside
        child=Text(max_length=300),
        default=list,
        max_length=1000,
        help_text="`app.Model.field`, or `app.Model`.",
    )
    database = Text(required=False, max_length=100, help_text="Values in this one alone.")
    batch_size = Integer(min_value=1, max_value=WRAPS_PER_PREFIX, default=BATCH_SIZE)
    max_rate = Integer(
        min_value=1,
        max_value=10**9,
        allow_null=True,
        default=None,
        help_text="Values a second, of each process.",
    )
    sleep = Number(min_value=0, max_value=3600, default=0.0, help_text="Seconds after each batch.")


class RunQuery(PageQuery):
    """Which rotations."""

    key = KeyName(required=False, help_text="The key's id, or `alias:` and its alias.")
    state = serializers.ChoiceField(RotationState.choices, required=False)
    kind = serializers.ChoiceField(RotationKind.choices, required=False)


def idempotency_key(request: Any, given: Mapping[str, Any]) -> IdempotencyKey:
    """Return the name of a start, by which one that is sent again finds the first run.

    Args:
        request: has it in its header.
        given: what is started.

    Raises:
        ValidationError: it is not such a name.
    """
    header = request.headers.get(IDEMPOTENCY_KEY)
    if header is None:
        return NOT_REPEATED
    if not _PATTERN.match(header):
        problem = f'Write it as "deploy-1742", with at most {LONGEST} characters of ASCII.'
        raise ValidationError({IDEMPOTENCY_KEY: [problem]})
    name = _ESCAPED.sub(r"\1", header[1:-1]) if header.startswith('"') else header
    return IdempotencyKey.of(current_principal(), name, given)
