"""Blind indexes: listed, rebuilt, verified, and brought from state to state."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError
from rest_framework.response import Response

from envelope_fields.api import index_contents, requests, rotations, views
from envelope_fields.api.problems import no_such
from envelope_fields.api.schema import IF_MATCH, NAME_OF_START, endpoint
from envelope_fields.census import CensusFailed
from envelope_fields.indexing import change_state, collisions, find_indexes, representation, runs
from envelope_fields.indexing.representation import Standing
from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.keys import addressed_key, open_keys, record_denial
from envelope_fields.models import MasterKey, RotationKind
from envelope_fields.policy import Action
from envelope_fields.rotation import Limits

VIEW_INDEX = "view_blindindex"
COLLISIONS_SHOWN = 100
_LABEL = re.compile(r"[\w.]{1,300}")


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
            raise no_such("index")
        if not representation.indexes_of(open_keys(Action.DESCRIBE)).filter(pk=row.pk).exists():
            record_denial(wanted, None)
            raise no_such("index")
        return representation.standing(row)

    def permitted(self, request: Any, label: str, operation: Operation) -> Standing:
        """Return an index that the user may do something with."""
        found = self.seen(label, operation.action)
        views.permit_operation(request, operation, *keys_of(found))
        return found


class Indexes(views.ApiView):
    """The blind indexes whose search keys the user may describe."""

    @endpoint(
        "list_indexes",
        {200: index_contents.IndexContent(many=True)},
        query=index_contents.IndexQuery,
    )
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
        return self.paged(rows.order_by("label"), index_contents.IndexContent, _contents)


class Index(IndexView):
    """How far one index is, and its rows, counted now."""

    own_throttle_scope = requests.CENSUS

    @endpoint(
        "read_index", {200: index_contents.CountedIndex}, refusals=(503,), headers={200: ("ETag",)}
    )
    def get(self, request: Any, index: str) -> Response:
        """Read how far an index is, and count its rows."""
        found = self.seen(index)
        views.permit(request, VIEW_INDEX)
        content = index_contents.CountedIndex(representation.counted_content(found)).data
        return views.tagged(content, prefix=_tag_of(found))


class State(IndexView):
    """The state of an index."""

    @endpoint(
        "change_index_state",
        {200: index_contents.IndexContent},
        body=index_contents.NextState,
        refusals=(409, 412, 503),
        headers={200: ("ETag",)},
        parameters=(IF_MATCH,),
    )
    def post(self, request: Any, index: str) -> Response:
        """Bring an index to another state, if what it takes has been done."""
        found = self.permitted(request, index, Operation.CHANGE_INDEX)
        given = self.body()
        field = _declared(found)
        with _as_seen(request, found):
            change_state(field, given["state"])
        now = representation.standing(representation.begun_indexes().get(pk=found.row.pk))
        content = index_contents.IndexContent(representation.index_content(now)).data
        return views.tagged(content, prefix=_tag_of(now))


class Collisions(IndexView):
    """Rows that a unique index would not take beside each other."""

    own_throttle_scope = requests.CENSUS

    @endpoint(
        "find_index_collisions", {200: index_contents.CollisionsContent}, refusals=(409, 502, 503)
    )
    def post(self, request: Any, index: str) -> Response:
        """Look for rows whose values have the same normal form; nothing is written.

        Every row is opened meanwhile: of a large table, ask the command.
        """
        found = self.permitted(request, index, Operation.REBUILD_INDEX)
        self.body()
        tables = [_looked(table) for table in find_indexes([found.row.label])]
        return Response(index_contents.CollisionsContent({"tables": tables}).data)


def _run_view(kind: RotationKind) -> type[IndexView]:
    operation = runs.operation_of(kind)

    @endpoint(
        str(operation),
        {202: rotations.RunContent},
        body=index_contents.NewIndexRun,
        refusals=(409, 422, 503),
        headers={202: ("Location", "ETag")},
        parameters=(NAME_OF_START,),
    )
    def post(self: IndexView, request: Any, index: str) -> Response:
        found = self.permitted(request, index, operation)
        given = self.body()
        table = find_indexes([found.row.label])[0]
        repeated = requests.idempotency_key(request, {**given, "index": index, "kind": kind})
        begun = runs.start_dispatched(
            table.index, kind, using=table.using, limits=Limits(**given), idempotency_key=repeated
        )
        return rotations.accepted(request, begun)

    post.__doc__ = operation.description
    name = "".join(part.title() for part in operation.split("_"))
    return type(name, (IndexView,), {"post": post, "__doc__": operation.description})


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
        raise no_such("index")
    return found.field


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
    return views.etag_prefix({"state": row.state, "state_changed_at": row.state_changed_at})


@contextmanager
def _as_seen(request: Any, found: Standing) -> Iterator[None]:
    """Have a change inside done only if the client has seen what it changes; see `If-Match`."""
    if not found.pins:
        yield
        return
    with views.as_seen(request, found.pins[0].master_key, lambda: _tag_of(found)):
        yield
