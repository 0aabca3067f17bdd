"""Rotations of stored values: listed, started and watched."""

from __future__ import annotations

from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.response import Response

from envelope_fields.api import rights
from envelope_fields.api.etags import etag_of
from envelope_fields.api.idempotency import idempotency_key
from envelope_fields.api.naming import id_in, named_key
from envelope_fields.api.operations import operation
from envelope_fields.api.pages import PageQuery, Pages
from envelope_fields.api.rotation_shapes import FailureContent, NewRun, RunContent, RunQuery
from envelope_fields.api.versioning import url_of
from envelope_fields.api.view import ApiView
from envelope_fields.conf import configuration
from envelope_fields.models import MasterKey, RotationRun
from envelope_fields.policy import Action, current_principal, keys_open_to
from envelope_fields.rotation import Limits, failures
from envelope_fields.rotation.representation import failure_content, run_content, run_contents
from envelope_fields.rotation.runs import start_dispatched
from envelope_fields.jobs.runs import all_runs, find_run, keys_of, runs_of


class Rotations(ApiView):
    """The rotations of the keys that one may describe."""

    pagination_class = Pages

    @operation("list_rotations", {200: RunContent(many=True)}, query=RunQuery)
    def get(self, request: Any) -> Response:
        """List the rotations of the keys that one may describe, newest first."""
        rights.permit(request, "view_rotationrun")
        page: Any = self.paginate_queryset(_picked(_seen(), self.query))
        return self.get_paginated_response(RunContent(run_contents(page), many=True).data)

    @operation(
        "start_rotation",
        {202: RunContent},
        body=NewRun,
        refusals=(409, 422, 503),
        headers={202: ("Location", "ETag")},
        takes_idempotency_key=True,
    )
    def post(self, request: Any) -> Response:
        """Have the stored values of a key moved to its current version.

        A worker does it: the answer is that of a run that goes on. The same start again, by its
        `Idempotency-Key`, is answered with the first run.
        """
        given = self.body(NewRun)
        repeated = idempotency_key(request, given)
        first = repeated.first_run()
        known = first.master_key if first else None
        key = rights.see(known or named_key(given["key"]), Action.RE_ENCRYPT)
        rights.permit_on(request, key, Action.RE_ENCRYPT, "add_rotationrun")
        if first is None:
            _refuse_unknown(key, given)
        run = start_dispatched(key.pk, idempotency_key=repeated, **_asked(given))
        return told_of_work(request, run)


class Rotation(ApiView):
    """One rotation."""

    @operation("read_rotation", {200: RunContent}, headers={200: ("ETag",)})
    def get(self, request: Any, run: str) -> Response:
        """Read how far a rotation is: of each field, and in all."""
        found = seen_run(run)
        rights.permit(request, "view_rotationrun")
        return told(found)


class Failures(ApiView):
    """The values that a rotation could not move."""

    pagination_class = Pages

    @operation("list_rotation_failures", {200: FailureContent(many=True)}, query=PageQuery)
    def get(self, request: Any, run: str) -> Response:
        """List what a rotation could not move, and why: of each range of rows the first 100."""
        found = seen_run(run)
        rights.permit(request, "view_rotationrun")
        page: Any = self.paginate_queryset(failures(found))
        content = [failure_content(failure) for failure in page]
        return self.get_paginated_response(FailureContent(content, many=True).data)


def seen_run(named: str, wanted: Action = Action.DESCRIBE) -> RotationRun:
    """Return a rotation whose key may be seen; another one is not there.

    Args:
        named: its id.
        wanted: what is tried with it.

    Raises:
        NotFound: there is no such rotation, to this principal.
    """
    pk = id_in(named)
    run = all_runs().filter(pk=pk).first() if pk else None
    if run is None:
        raise rights.no_rotation()
    try:
        for key in keys_of(run):
            rights.see(key, wanted)
    except NotFound:
        raise rights.no_rotation() from None
    return run


def told(run: RotationRun) -> Response:
    """Return the answer that tells of a rotation, as the database has it."""
    now = find_run(run)
    content = RunContent(run_content(now)).data
    return Response(content, headers={"ETag": f"{tag_begins(now)}{etag_of(content)[1:]}"})


def told_of_work(request: Any, run: RotationRun) -> Response:
    """Return the answer that tells where to watch a rotation."""
    response = told(run)
    response.status_code = 202
    response["Location"] = url_of(request, "rotation", run=run.pk)
    return response


def tag_begins(run: RotationRun) -> str:
    """Return how the ETag of a rotation begins: with what acts change, and progress does not."""
    seen = {"state": run.state, "resumed_at": run.resumed_at, "finished_at": run.finished_at}
    return etag_of(seen)[:-1] + "."


def _seen() -> QuerySet[RotationRun]:
    using = configuration().database
    keys = MasterKey.objects.using(using)
    keys = keys.filter(keys_open_to(Action.DESCRIBE, current_principal(), using=using))
    return runs_of(keys)


def _picked(runs: QuerySet[RotationRun], query: dict[str, Any]) -> QuerySet[RotationRun]:
    if "key" in query:
        runs = runs.filter(keys__master_key=named_key(query["key"]))
    return runs.filter(**{name: query[name] for name in ("state", "kind") if name in query})


def _asked(given: dict[str, Any]) -> dict[str, Any]:
    limits = Limits(**{name: given[name] for name in ("batch_size", "max_rate", "sleep")})
    asked = {name: given[name] for name in ("kind", "versions", "fields")}
    return {**asked, "database": given.get("database", ""), "limits": limits}


def _refuse_unknown(key: MasterKey, given: dict[str, Any]) -> None:
    """Name what there is none of, where `start` would not say which field of the body it was."""
    if given.get("database", DEFAULT_DB_ALIAS) not in connections:
        valid = ", ".join(connections)
        raise ValidationError({"database": [f"There is no such database. Valid: {valid}."]})
    wanted = set(given["versions"])
    numbers = key.versions.using(key._state.db).filter(number__in=wanted)
    unknown = sorted(wanted - set(numbers.values_list("number", flat=True)))
    if unknown:
        raise ValidationError({"versions": [f"The key has no version {unknown[0]}."]})
