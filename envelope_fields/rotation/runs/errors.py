"""Why a run is not started, found or changed."""

from __future__ import annotations

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import MasterKey, RotationRun


class RotationUnderWay(EnvelopeError):
    """The key has a run that is not over; `run` is it."""

    def __init__(self, key: MasterKey, run: RotationRun | None) -> None:
        named = f": {run.pk}, {run.state}" if run else ""
        super().__init__(
            f"The master key {key} has a run that is not over{named}. Let it finish, resume it, or "
            "cancel it: `python manage.py rewrap --run ID`, `rotation_runs --cancel ID`."
        )
        self.run = run


class NoSuchRun(EnvelopeError):
    """There is no run with that id."""


class RunNotPossible(EnvelopeError):
    """The state of the run does not allow that."""
