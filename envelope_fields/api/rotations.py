"""Rotations of stored values: listed, started, watched, paused, resumed and cancelled."""

from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.response import Response

from envelope_fields import models, rotation
from envelope_fields.api import requests, views
from envelope_fields.api.fields import (
    Integer,
    KeyName,
    Number,
    Strict,
    Text,
    answers,
    takes,
    time_field,
)
from envelope_fields.api.problems import no_such
from envelope_fields.api.schema import NAME_OF_START, endpoint
from envelope_fields.jobs import representation, runs
from envelope_fields.jobs.throttle import BATCH_SIZE, NICEST
from envelope_fields.keyring.table import WRAPS_PER_PREFIX
from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.keys import addressed_key, id_in, open_keys
from envelope_fields.models import MasterKey, RotationRun
from envelope_fields.policy import Action
from envelope_fields.rotation import Limits, find_run, scope
from envelope_fields.rotation.runs import start_dispatched

# Conversions are started on a field: `convert_field`.
_MOVING = [(kind.value, kind.label) for kind in scope.MOVING]
_LIMITS = ("batch_size", "max_rate", "sleep", "nice_ratio")
_FIELD = {"database": "default", "schema": None, "field": "clinic.Patient.notes"}
_NUMBERS = {"total": 90_000, "moved": 60_000, "skipped": 3, "failed": 1, "left": 29_996}
_EXAMPLE = {
    "id": "7f1c52e4-9f0f-4a39-8d4e-0a1a3c7f9d55", "kind": "rewrap",
    "key": {"id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1", "alias": "billing"},
    "state": "running", "versions": [], "fields": ["clinic.Patient.notes"], "database": None,
    "actor": {"type": "auth.user", "id": "12", "name": "olga"},
    "created_at": "2030-03-01T09:30:00Z", "seen_at": "2030-03-01T09:31:00Z", "finished_at": None,
    "error": None, **_NUMBERS, "rate": 1000.0, "seconds_left": 30,
    "progress": [{**_FIELD, **_NUMBERS}],
}  # fmt: skip
_FAILURE = {
    **_FIELD, "row": "4711", "version_id": "5f0c1c1b9d8e7a42", "cause": "UnwrapFailed",
    "message": "its data key does not open: altered, or moved here from another place",
}  # fmt: skip


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


@answers("under way", _EXAMPLE, 200, 202)
class RunContent(serializers.Serializer[Any]):
    """What a rotation is to do, by whom, and how far it is."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(models.RotationKind.choices)
    key = RunKey(allow_null=True, help_text="Null where it is about several, or none.")
    keys = RunKeyNumbers(many=True, required=False, help_text="Where it is about several, or none.")
    state = serializers.ChoiceField(models.RotationState.choices)
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


@answers("a failure", _FAILURE)
class FailureContent(serializers.Serializer[Any]):
    """A value that could not be moved, and why; nothing of the value."""

    database = serializers.CharField()
    schema = serializers.CharField(allow_null=True)
    field = serializers.CharField()
    row = serializers.CharField(help_text="Its primary key.")
    version_id = serializers.CharField()
    cause = serializers.CharField()
    message = serializers.CharField(allow_blank=True)


class RunLimits(Strict):
    """What a run asks of databases at most."""

    batch_size = Integer(min_value=1, max_value=WRAPS_PER_PREFIX, default=BATCH_SIZE)
    max_rate = Integer(
        min_value=1, max_value=10**9, allow_null=True, default=None,
        help_text="Values or rows a second, of each process.",
    )  # fmt: skip
    sleep = Number(min_value=0, max_value=3600, default=0.0, help_text="Seconds after each batch.")
    nice_ratio = Number(
        min_value=0, max_value=NICEST, allow_null=True, default=None,
        help_text="Seconds to rest for each second of work.",
    )  # fmt: skip


@takes({
    "all of a key": {"key": "alias:billing"},
    "after a leak, with a rate limit": {
        "key": "alias:billing", "kind": "re_encrypt", "versions": [1], "max_rate": 500,
    },
})  # fmt: skip
class NewRun(RunLimits):
    """A rotation to be started; what is left out is all, and without a rate limit."""

    key = KeyName()
    kind = serializers.ChoiceField(_MOVING, default=models.RotationKind.REWRAP)
    versions = serializers.ListField(
        child=Integer(min_value=1, max_value=2**31 - 1), default=list, max_length=1000
    )
    fields = serializers.ListField(  # type: ignore[assignment]  # its name outside
        child=Text(max_length=300), default=list, max_length=1000,
        help_text="`app.Model.field`, or `app.Model`.",
    )  # fmt: skip
    database = Text(required=False, max_length=100, help_text="Values in this one alone.")


class RunQuery(requests.PageQuery):
    """Which rotations."""

    key = KeyName(required=False, help_text="The key's id, or `alias:` and its alias.")
    state = serializers.ChoiceField(models.RotationState.choices, required=False)
    kind = serializers.ChoiceField(models.RotationKind.choices, required=False)


class Rotations(views.ApiView):
    """The rotations of the keys that the user may describe."""

    @endpoint("list_rotations", {200: RunContent(many=True)}, query=RunQuery)
    def get(self, request: Any) -> Response:
        """List the rotations of the keys that the user may describe, newest first."""
        views.permit(request, "view_rotationrun")
        seen = runs.runs_of(open_keys(Action.DESCRIBE))
        return self.paged(_picked(seen, self.query), RunContent, representation.run_contents)

    @endpoint(
        "start_rotation",
        {202: RunContent},
        body=NewRun,
        refusals=(409, 422, 503),
        headers={202: ("Location", "ETag")},
        parameters=(NAME_OF_START,),
    )
    def post(self, request: Any) -> Response:
        """Have the stored values of a key moved to its current version.

        A worker does it: the response is that of a run that goes on. The same start again, by its
        `Idempotency-Key`, is answered with the first run.
        """
        given = self.body()
        repeated = requests.idempotency_key(request, given)
        first = repeated.first_run()
        known = first.master_key if first else None
        key = views.see(known or addressed_key(given["key"]), Operation.START_ROTATION.action)
        views.permit_operation(request, Operation.START_ROTATION, key)
        if first is None:
            _refuse_unknown(key, given)
        run = start_dispatched(key.pk, idempotency_key=repeated, **_arguments(given))
        return accepted(request, run)


class Rotation(views.ApiView):
    """One rotation."""

    @endpoint("read_rotation", {200: RunContent}, headers={200: ("ETag",)})
    def get(self, request: Any, run: str) -> Response:
        """Read how far a rotation is: of each field, and in all."""
        found = seen_run(run)
        views.permit(request, "view_rotationrun")
        return shown(found)


class Failures(views.ApiView):
    """The values that a rotation could not move."""

    @endpoint("list_rotation_failures", {200: FailureContent(many=True)}, query=requests.PageQuery)
    def get(self, request: Any, run: str) -> Response:
        """List what a rotation could not move, and why: of each range of rows the first 100."""
        found = seen_run(run)
        views.permit(request, "view_rotationrun")
        return self.paged(rotation.failures(found), FailureContent, _failure_contents)


def seen_run(named: str, wanted: Action = Action.DESCRIBE) -> RotationRun:
    """Return a rotation whose keys may be seen; another one does not exist, to this user."""
    pk = id_in(named)
    run = runs.all_runs().filter(pk=pk).first() if pk else None
    if run is None:
        raise no_such("rotation")
    try:
        views.see_each(runs.keys_of(run), wanted)
    except NotFound:
        raise no_such("rotation") from None
    return run


def _failure_contents(page: list[models.RotationFailure]) -> list[dict[str, Any]]:
    return list(map(representation.failure_content, page))


def shown(run: RotationRun) -> Response:
    """Return the response that shows a rotation, as the database has it."""
    now = find_run(run)
    return views.tagged(RunContent(representation.run_content(now)).data, prefix=tag_of(now))


def accepted(request: Any, run: RotationRun) -> Response:
    """Return the response that names the address to watch a rotation at."""
    response = shown(run)
    response.status_code = 202
    response["Location"] = requests.url_of(request, "rotation", run=run.pk)
    return response


def tag_of(run: RotationRun) -> str:
    """Return how the ETag of a rotation begins: with what progress does not change."""
    names = ("state", "resumed_at", "finished_at")
    return views.etag_prefix({name: getattr(run, name) for name in names})


def _picked(rows: QuerySet[RotationRun], query: dict[str, Any]) -> QuerySet[RotationRun]:
    if "key" in query:
        key = addressed_key(query["key"])
        rows = rows.none() if key is None else runs.runs_about(key, rows)
    return rows.filter(**{name: query[name] for name in ("state", "kind") if name in query})


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    limits = Limits(**{name: given[name] for name in _LIMITS})
    arguments = {name: given[name] for name in ("kind", "versions", "fields")}
    return {**arguments, "database": given.get("database", ""), "limits": limits}


def _refuse_unknown(key: MasterKey, given: dict[str, Any]) -> None:
    """Name what there is none of, since `start` does not name the field of the body."""
    if given.get("database", DEFAULT_DB_ALIAS) not in connections:
        valid = ", ".join(connections)
        raise ValidationError({"database": [f"There is no such database. Valid: {valid}."]})
    wanted = set(given["versions"])
    numbers = key.versions.using(key._state.db).filter(number__in=wanted)
    unknown = sorted(wanted - set(numbers.values_list("number", flat=True)))
    if unknown:
        raise ValidationError({"versions": [f"The key has no version {unknown[0]}."]})
