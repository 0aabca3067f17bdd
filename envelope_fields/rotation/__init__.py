"""Moving stored values to newer key versions, online, and knowing what is stored under which.

A run has a `scope`: its kind, the versions of its keys, and columns. `runs` forecasts it and starts
it; what is done with the values are jobs (`jobs`): `rewrap`, `re_encrypt`, and `verification`,
which reads them all.
"""

from envelope_fields.census import CensusFailed, CensusRow, KeyVersion, census
from envelope_fields.census.columns import NoSuchField
from envelope_fields.jobs.representation import FieldProgress, Progress, failures, progress
from envelope_fields.jobs.runs import (
    NoSuchRun,
    RotationUnderWay,
    RunNotPossible,
    active_run,
    cancel,
    find_run,
    limit,
    pause,
    resume,
)
from envelope_fields.jobs.throttle import Limits
from envelope_fields.models import RotationKind, RotationRun, RotationState
from envelope_fields.rotation.runs import Forecast, forecast, run, start

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
