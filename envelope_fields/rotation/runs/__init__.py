"""Runs: started and steered by people, ended by themselves; each act has its audit event (law 9).

`rows` finds them; `starting`, `steering` and `ending` change them, by way of `states`.
"""

from envelope_fields.rotation.runs.ending import ended, failing, never_begun
from envelope_fields.rotation.runs.errors import NoSuchRun, RotationUnderWay, RunNotPossible
from envelope_fields.rotation.runs.rows import (
    SEEN_EVERY,
    RunOrId,
    active_run,
    active_runs,
    all_runs,
    find_run,
    is_asked_for,
    principal_of_run,
)
from envelope_fields.rotation.runs.starting import start
from envelope_fields.rotation.runs.steering import cancel, limit, pause, resume

__all__ = [
    "SEEN_EVERY",
    "NoSuchRun",
    "RotationUnderWay",
    "RunNotPossible",
    "RunOrId",
    "active_run",
    "active_runs",
    "all_runs",
    "cancel",
    "ended",
    "failing",
    "find_run",
    "is_asked_for",
    "limit",
    "never_begun",
    "pause",
    "principal_of_run",
    "resume",
    "start",
]
