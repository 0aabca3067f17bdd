"""What is said of a run, as plain data for JSON: the same in commands, the admin and the API."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.db.models import QuerySet

from envelope_fields.conf import configuration
from envelope_fields.jobs.progress import FieldProgress, Progress, progress_of
from envelope_fields.models import MasterKey, RotationFailure, RotationKey, RotationRun
from envelope_fields.rotation.runs import Forecast
from envelope_fields.rotation.scope import PlainValues

KEYS_SHOWN = 100  # of a run about many


def run_title(run: RotationRun) -> str:
    """Name what a run is about: its key, or how many there are; all where it names none."""
    if run.master_key is not None:
        return str(run.master_key)
    keys = _keys(run).count()
    return f"{keys:,} keys" if keys else "all keys"


def run_content(run: RotationRun) -> dict[str, Any]:
    """Return what a run is to do, by whom, and how far it is."""
    return run_contents([run])[0]


def run_contents(runs: Sequence[RotationRun]) -> list[dict[str, Any]]:
    """Return that of several runs, in few queries more than for one."""
    found = zip(runs, progress_of(runs), strict=True)
    return [_run_content(run, progress) for run, progress in found]


def failure_content(failure: RotationFailure) -> dict[str, Any]:
    """Return which value could not be moved, and why."""
    column = failure.range.column
    return {
        "database": column.database,
        "schema": column.named_schema,
        "field": str(column),
        "row": failure.row,
        "version_id": failure.version_id,
        "cause": failure.cause,
        "message": failure.message,
    }


def forecast_content(key: MasterKey, forecast: Forecast) -> dict[str, Any]:
    """Return what a run would do in one field; seconds are those of one process."""
    return {"key": _key_content(key), **asdict(forecast)}


def plain_values_content(found: PlainValues) -> dict[str, Any]:
    """Return how many values of a field are no envelopes."""
    return asdict(found)


def key_contents(run: RotationRun) -> list[dict[str, Any]]:
    """Return what became of each key of a run about several, of the first: by the census.

    `total` are the values that it began with, `remaining` those that were there at its last look.
    """
    if run.master_key is not None:
        return []
    rows = _keys(run).select_related("master_key").order_by("master_key__alias")
    return [
        {**_key_content(row.master_key), "total": row.total, "remaining": row.remaining}
        for row in rows[:KEYS_SHOWN]
    ]


def _keys(run: RotationRun) -> QuerySet[RotationKey]:
    return RotationKey.objects.using(configuration().database).filter(run=run.pk)


def _run_content(run: RotationRun, progress: Progress) -> dict[str, Any]:
    seconds = progress.time_remaining
    return {
        "id": str(run.pk),
        "kind": str(run.kind),
        "key": None if run.master_key is None else _key_content(run.master_key),
        **({} if run.master_key is not None else {"keys": key_contents(run)}),
        "state": str(run.state),
        "versions": run.only_versions,
        "fields": run.only_fields,
        "database": run.only_database or None,
        "actor": {"type": run.actor_type, "id": run.actor_id, "name": run.actor_name},
        "created_at": run.created_at,
        "seen_at": run.heartbeat_at,
        "finished_at": run.finished_at,
        "error": run.error or None,
        "total": progress.total,
        "moved": progress.moved,
        "skipped": progress.skipped,
        "failed": progress.failed,
        "left": progress.remaining,
        "rate": round(progress.rate, 1),
        "seconds_left": None if seconds is None else round(seconds.total_seconds()),
        "progress": [_field_content(field) for field in progress.fields],
    }


def _field_content(field: FieldProgress) -> dict[str, Any]:
    content = asdict(field)
    content["left"] = content.pop("remaining")
    return content


def _key_content(key: MasterKey) -> dict[str, Any]:
    return {"id": str(key.pk), "alias": key.alias}
