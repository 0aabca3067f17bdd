"""Rotations of stored values: listed, started, watched, paused, resumed and cancelled."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.response import Response

from envelope_fields import rotation
from envelope_fields.api import views
from envelope_fields.api.fields import Empty
from envelope_fields.api.problems import no_rotation
from envelope_fields.api.requests import PageQuery, Pages, url_of
from envelope_fields.api.runs import (
    NAME_OF_START,
    FailureContent,
    NewRun,
    RunContent,
    RunQuery,
    idempotency_key,
)
from envelope_fields.api.schema import IF_MATCH, endpoint
from envelope_fields.jobs.dispatch import dispatch_resume
from envelope_fields.jobs.runs import all_runs, keys_of, runs_about, runs_of
from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.keys import addressed_key, id_in, open_keys
from envelope_fields.models import MasterKey, RotationRun
from envelope_fields.policy import Action
from envelope_fields.rotation import Limits, failures, find_run
from envelope_fields.rotation.representation import failure_content, run_content, run_contents
from envelope_fields.rotation.runs import start_dispatched


class Rotations(views.ApiView):
    """The rotations of the keys that the user may describe."""

    pagination_class = Pages

    @endpoint("list_rotations", {200: RunContent(many=True)}, query=RunQuery)
    def get(self, request: Any) -> Response:
        """List the rotations of the keys that the user may describe, newest first."""
        views.permit(request, "view_rotationrun")
        seen = runs_of(open_keys(Action.DESCRIBE))
        return self.paged(_picked(seen, self.query), RunContent, run_contents)

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
        given = self.body(NewRun)
        repeated = idempotency_key(request, given)
        first = repeated.first_run()
        known = first.master_key if first else None
        key = views.see(known or addressed_key(given["key"]), Operation.START_ROTATION.action)
        views.permit_operation(request, key, Operation.START_ROTATION)
        if first is None:
            _refuse_unknown(key, given)
        run = start_dispatched(key.pk, idempotency_key=repeated, **_arguments(given))
        return _accepted(request, run)


class Rotation(views.ApiView):
    """One rotation."""

    @endpoint("read_rotation", {200: RunContent}, headers={200: ("ETag",)})
    def get(self, request: Any, run: str) -> Response:
        """Read how far a rotation is: of each field, and in all."""
        found = _seen_run(run)
        views.permit(request, "view_rotationrun")
        return _shown(found)


class Failures(views.ApiView):
    """The values that a rotation could not move."""

    pagination_class = Pages

    @endpoint("list_rotation_failures", {200: FailureContent(many=True)}, query=PageQuery)
    def get(self, request: Any, run: str) -> Response:
        """List what a rotation could not move, and why: of each range of rows the first 100."""
        found = _seen_run(run)
        views.permit(request, "view_rotationrun")
        return self.paged(
            failures(found), FailureContent, lambda page: [failure_content(each) for each in page]
        )


class RunOperationView(views.ApiView):
    """One operation on a rotation. The response shows the rotation as it is then."""

    operation: ClassVar[Operation]

    def perform(self, request: Any, run: str, do: Callable[[RotationRun], object]) -> RotationRun:
        found = _seen_run(run, self.operation.action)
        keys = keys_of(found)
        for key in keys:
            views.permit_operation(request, key, self.operation)
        self.body(Empty)
        with views.as_seen(request, keys[0], lambda: _tag_begins(find_run(found))):
            do(found)
        return found


def operation_views() -> Iterator[tuple[str, type[RunOperationView]]]:
    """Yield the segment and the view of each operation on rotations."""
    for operation, do, goes_on in (
        (Operation.PAUSE_ROTATION, rotation.pause, False),
        (Operation.RESUME_ROTATION, dispatch_resume, True),
        (Operation.CANCEL_ROTATION, rotation.cancel, False),
    ):
        yield operation.segment, _view(operation, do, goes_on)


def _view(
    operation: Operation, do: Callable[[RotationRun], object], goes_on: bool
) -> type[RunOperationView]:
    status, more = (202, ("Location",)) if goes_on else (200, ())

    @endpoint(
        str(operation),
        {status: RunContent},
        refusals=(409, 412, 503) if goes_on else (409, 412),
        headers={status: ("ETag", *more)},
        parameters=(IF_MATCH,),
    )
    def post(self: RunOperationView, request: Any, run: str) -> Response:
        done = self.perform(request, run, do)
        return _accepted(request, done) if goes_on else _shown(done)

    post.__doc__ = operation.description
    name = operation.segment.title()
    return type(name, (RunOperationView,), {"operation": operation, "post": post})


def _seen_run(named: str, wanted: Action = Action.DESCRIBE) -> RotationRun:
    """Return a rotation whose key may be seen; another one does not exist.

    Args:
        named: its id.
        wanted: what is tried with it.

    Raises:
        NotFound: there is no such rotation, to this user.
    """
    pk = id_in(named)
    run = all_runs().filter(pk=pk).first() if pk else None
    if run is None:
        raise no_rotation()
    try:
        for key in keys_of(run):
            views.see(key, wanted)
    except NotFound:
        raise no_rotation() from None
    return run


def _shown(run: RotationRun) -> Response:
    """Return the response that shows a rotation, as the database has it."""
    now = find_run(run)
    content = RunContent(run_content(now)).data
    return Response(content, headers={"ETag": f"{_tag_begins(now)}{views.etag_of(content)[1:]}"})


def _accepted(request: Any, run: RotationRun) -> Response:
    """Return the response that names the address to watch a rotation at."""
    response = _shown(run)
    response.status_code = 202
    response["Location"] = url_of(request, "rotation", run=run.pk)
    return response


def _tag_begins(run: RotationRun) -> str:
    """Return how the ETag of a rotation begins: with what users change, and progress does not."""
    seen = {"state": run.state, "resumed_at": run.resumed_at, "finished_at": run.finished_at}
    return views.etag_of(seen)[:-1] + "."


def _picked(runs: QuerySet[RotationRun], query: dict[str, Any]) -> QuerySet[RotationRun]:
    if "key" in query:
        key = addressed_key(query["key"])
        runs = runs.none() if key is None else runs_about(key, runs)
    return runs.filter(**{name: query[name] for name in ("state", "kind") if name in query})


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    limits = Limits(**{name: given[name] for name in ("batch_size", "max_rate", "sleep")})
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
