"""Acts on a rotation: each is a POST."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework.response import Response

from envelope_fields import rotation
from envelope_fields.api import rights
from envelope_fields.api.etags import as_seen
from envelope_fields.api.fields import Nothing
from envelope_fields.api.operations import Operation
from envelope_fields.api.rotation_shapes import RunContent
from envelope_fields.api.rotations import seen_run, tag_begins, told, told_of_work
from envelope_fields.api.view import ApiView
from envelope_fields.models import RotationRun
from envelope_fields.policy import Action
from envelope_fields.rotation import find_run
from envelope_fields.jobs.dispatch import dispatch_resume


class RunActView(ApiView):
    """One act. It answers with the rotation as it is then.

    Attributes:
        name: what the schema calls it.
        goes_on: whether there is work that goes on after the answer.
    """

    name: ClassVar[str]
    goes_on: ClassVar[bool] = False

    def post(self, request: Any, run: str) -> Response:
        found = seen_run(run, Action.RE_ENCRYPT)
        rights.permit_on(request, found.master_key, Action.RE_ENCRYPT, "change_rotationrun")
        self.body(Nothing)
        with as_seen(request, found.master_key, lambda: tag_begins(find_run(found))):
            self.do(found)
        return told_of_work(request, found) if self.goes_on else told(found)

    def do(self, run: RotationRun) -> None:
        """Do it."""
        raise NotImplementedError

    def said_of(self, method: str) -> Operation:
        if method != "POST":
            return super().said_of(method)
        status, more = (202, ("Location",)) if self.goes_on else (200, ())
        return Operation(
            self.name,
            {status: RunContent},
            refusals=(409, 412, 503) if self.goes_on else (409, 412),
            headers={status: ("ETag", *more)},
            takes_if_match=True,
        )


class Pause(RunActView):
    """Let a rotation rest after the batches that are under way."""

    name = "pause_rotation"

    def do(self, run: RotationRun) -> None:
        rotation.pause(run)


class Resume(RunActView):
    """Let a rotation go on: the worker is told of it again, also of one that it has lost."""

    name = "resume_rotation"
    goes_on = True

    def do(self, run: RotationRun) -> None:
        dispatch_resume(run)


class Cancel(RunActView):
    """End a rotation where it is. What was moved stays moved."""

    name = "cancel_rotation"

    def do(self, run: RotationRun) -> None:
        rotation.cancel(run)
