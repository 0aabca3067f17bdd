"""Blind indexes: listed, rebuilt, verified, and brought from state to state."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.db import DatabaseError
from rest_framework import serializers
from rest_framework.response import Response

from envelope_fields.api import requests, rotations, views
from envelope_fields.api.fields import (
    Empty,
    Integer,
    KeyName,
    Number,
    Strict,
    answers,
    takes,
    time_field,
)
from envelope_fields.api.problems import no_index
from envelope_fields.api.schema import IF_MATCH, NAME_OF_START, endpoint
from envelope_fields.census import CensusFailed
from envelope_fields.indexing import change_state, collisions, find_indexes, representation, runs
from envelope_fields.indexing.representation import Standing
from envelope_fields.indexing.rows import NoSuchIndex
from envelope_fields.jobs.job import BATCH_SIZE
from envelope_fields.keyring.table import WRAPS_PER_PREFIX
from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.keys import addressed_key, open_keys, record_denial
from envelope_fields.models import IndexState, KeyState, MasterKey, RotationKind
from envelope_fields.policy import Action
from envelope_fields.rotation import Limits

VIEW_INDEX = "view_blindindex"
COLLISIONS_SHOWN = 100
_LABEL = re.compile(r"[\w.]{1,300}")

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
            "collisions": [{"row": "17", "other": "4711"}], "failed": [],
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
class NewIndexRun(Strict):
    """Limits of a run; what is left out is without."""

    batch_size = Integer(min_value=1, max_value=WRAPS_PER_PREFIX, default=BATCH_SIZE)
    max_rate = Integer(
        min_value=1, max_value=10**9, allow_null=True, default=None,
        help_text="Rows a second, of each process.",
    )  # fmt: skip
    sleep = Number(min_value=0, max_value=3600, default=0.0, help_text="Seconds after each batch.")


@takes({"once it is verified": {"state": "reading"}})
class NextState(Strict):
    """The state that an index is to have."""

    state = serializers.ChoiceField(IndexState.choices)


class IndexView(views.ApiView):
    """One index."""

    def seen(self, label: str, wanted: Action = Action.DESCRIBE) -> Standing:
        """Return an index whose search keys may be seen; another one does not exist, to the user.

        Raises:
            NotFound: it is not there; where there is one, the attempt is recorded.
        """
        known = representation.begun_indexes()
        # A database would refuse some of what an address can be.
        row = known.filter(label=label.lower()).first() if _LABEL.fullmatch(label) else None
        if row is None:
            raise no_index()
        if not representation.indexes_of(open_keys(Action.DESCRIBE)).filter(pk=row.pk).exists():
            record_denial(wanted, None)
            raise no_index()
        return representation.standing(row)

    def permitted(self, request: Any, label: str, operation: Operation) -> Standing:
        """Return an index that the user may do something with."""
        found = self.seen(label, operation.action)
        views.permit_operation(request, operation, *keys_of(found))
        return found


class Indexes(views.ApiView):
    """The blind indexes whose search keys the user may describe."""

    @endpoint("list_indexes", {200: IndexContent(many=True)}, query=IndexQuery)
    def get(self, request: Any) -> Response:
        """List the blind indexes whose search keys the user may describe."""
        views.permit(request, VIEW_INDEX)
        rows = representation.indexes_of(open_keys(Action.DESCRIBE))
        if "state" in self.query:
            rows = rows.filter(state=self.query["state"])
        if "key" in self.query:
            key = addressed_key(self.query["key"])
            labels = [] if key is None else [row.label for row, _ in representation.pinned_to(key)]
            rows = rows.filter(label__in=labels)
        return self.paged(rows.order_by("label"), IndexContent, _contents)


class Index(IndexView):
    """How far one index is, and its rows, counted now."""

    own_throttle_scope = requests.CENSUS

    @endpoint("read_index", {200: CountedIndex}, refusals=(503,), headers={200: ("ETag",)})
    def get(self, request: Any, index: str) -> Response:
        """Read how far an index is, and count its rows."""
        found = self.seen(index)
        views.permit(request, VIEW_INDEX)
        content = CountedIndex(representation.counted_content(found)).data
        return Response(content, headers={"ETag": f"{_tag_of(found)}{views.etag_of(content)[1:]}"})


class State(IndexView):
    """The state of an index."""

    @endpoint(
        "change_index_state",
        {200: IndexContent},
        body=NextState,
        refusals=(409, 412, 503),
        headers={200: ("ETag",)},
        parameters=(IF_MATCH,),
    )
    def post(self, request: Any, index: str) -> Response:
        """Bring an index to another state, if what it takes has been done."""
        found = self.permitted(request, index, Operation.CHANGE_INDEX)
        given = self.body(NextState)
        field = _declared(found)
        with _as_seen(request, found):
            change_state(field, given["state"])
        now = representation.standing(representation.begun_indexes().get(pk=found.row.pk))
        content = IndexContent(representation.index_content(now)).data
        return Response(content, headers={"ETag": f"{_tag_of(now)}{views.etag_of(content)[1:]}"})


class Collisions(IndexView):
    """Rows that a unique index would not take beside each other."""

    own_throttle_scope = requests.CENSUS

    @endpoint("find_index_collisions", {200: CollisionsContent}, refusals=(409, 502, 503))
    def post(self, request: Any, index: str) -> Response:
        """Look for rows whose values have the same normal form; nothing is written.

        Every row is opened meanwhile: of a large table, ask the command.
        """
        found = self.permitted(request, index, Operation.REBUILD_INDEX)
        self.body(Empty)
        _declared(found)
        tables = [_looked(table) for table in _tables(found)]
        return Response(CollisionsContent({"tables": tables}).data)


class RunView(IndexView):
    """Has a worker go through all rows of an index.

    Attributes:
        kind: what is done with them.
    """

    kind: ClassVar[str]

    def start(self, request: Any, label: str) -> Response:
        found = self.permitted(request, label, runs.operation_of(self.kind))
        given = self.body(NewIndexRun)
        table = next(iter(_tables(found)))
        repeated = requests.idempotency_key(request, {**given, "index": label, "kind": self.kind})
        begun = runs.start_dispatched(
            table.index, self.kind, using=table.using, limits=Limits(**given),
            idempotency_key=repeated,
        )  # fmt: skip
        return rotations.accepted(request, begun)


def _run_view(kind: RotationKind) -> type[RunView]:
    operation = runs.operation_of(kind)

    @endpoint(
        str(operation),
        {202: rotations.RunContent},
        body=NewIndexRun,
        refusals=(409, 422, 503),
        headers={202: ("Location", "ETag")},
        parameters=(NAME_OF_START,),
    )
    def post(self: RunView, request: Any, index: str) -> Response:
        return self.start(request, index)

    post.__doc__ = operation.description
    name = "".join(part.title() for part in operation.split("_"))
    return type(name, (RunView,), {"kind": kind, "post": post, "__doc__": operation.description})


# By the segments of their addresses.
ACTS: dict[str, type[IndexView]] = {
    "state": State,
    "collisions": Collisions,
    "rebuild": _run_view(RotationKind.REBUILD_INDEX),
    "verify": _run_view(RotationKind.VERIFY_INDEX),
}


def keys_of(found: Standing) -> list[MasterKey]:
    """Return the search keys of an index."""
    return [pin.master_key for pin in found.pins]


def _contents(page: list[Any]) -> list[dict[str, Any]]:
    return [representation.index_content(each) for each in representation.standings(page)]


def _declared(found: Standing) -> Any:
    """Return the field of an index that a model has."""
    if found.field is None:
        raise no_index()
    return found.field


def _tables(found: Standing) -> list[Any]:
    try:
        return find_indexes([found.row.label])
    except NoSuchIndex:
        raise no_index() from None


def _looked(table: Any) -> dict[str, Any]:
    try:
        content = representation.collisions_content(table, collisions(table))
    except DatabaseError as error:
        raise CensusFailed(
            f"The rows of {table.index} could not be looked at ({type(error).__name__})."
        ) from error
    listed, failed = content["collisions"], content["failed"]
    shown = {"collisions": listed[:COLLISIONS_SHOWN], "failed": failed[:COLLISIONS_SHOWN]}
    return {**content, "colliding": len(listed), "unreadable": len(failed), **shown}


def _tag_of(found: Standing) -> str:
    """Return how the ETag of an index begins: with what users change, and counts do not."""
    row = representation.begun_indexes().get(pk=found.row.pk)
    seen = {"state": row.state, "state_changed_at": row.state_changed_at}
    return views.etag_of(seen)[:-1] + "."


@contextmanager
def _as_seen(request: Any, found: Standing) -> Iterator[None]:
    """Have a change inside done only if the client has seen what it changes; see `If-Match`."""
    if not found.pins:
        yield
        return
    with views.as_seen(request, found.pins[0].master_key, lambda: _tag_of(found)):
        yield
