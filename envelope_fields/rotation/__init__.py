"""Moving stored values to newer key versions, online, and knowing what is stored under which.

Rooms: a run has a `scope`; `runs` are started, paused, resumed and cancelled by people; `working`
goes over the tables in `sweeps`, cut into `ranges`; `batches` move values by `rewrapping` or
`re_encrypting` them, with the SQL of `statements` and within `limits`; `recording` writes down
what was done, `numbers` adds it up, and `progress` tells it.
"""

from envelope_fields.census import CensusFailed, CensusRow, census
from envelope_fields.census.versions import KeyVersion
from envelope_fields.models import RotationKind, RotationRun, RotationState
from envelope_fields.rotation.forecast import Forecast, forecast
from envelope_fields.rotation.limits import Limits
from envelope_fields.rotation.progress import FieldProgress, Progress, failures, progress
from envelope_fields.rotation.running import run
from envelope_fields.rotation.runs import (
    NoSuchRun,
    RotationUnderWay,
    RunNotPossible,
    active_run,
    cancel,
    find_run,
    limit,
    pause,
    resume,
    start,
)
from envelope_fields.rotation.scope import NoSuchField

__all__ = [
    "CensusFailed",
    "CensusRow",
    "FieldProgress",
    "Forecast",
    "KeyVersion",
    "Limits",
    "NoSuchField",
    "NoSuchRun",
    "Progress",
    "RotationKind",
    "RotationRun",
    "RotationState",
    "RotationUnderWay",
    "RunNotPossible",
    "active_run",
    "cancel",
    "census",
    "failures",
    "find_run",
    "forecast",
    "limit",
    "pause",
    "progress",
    "resume",
    "run",
    "start",
]
