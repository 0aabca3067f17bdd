"""Runs as plain data, for JSON: the same in commands, the admin and the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from envelope_fields.models import RotationFailure, RotationRun
from envelope_fields.rotation.progress import Progress, progress_of


def run_content(run: RotationRun) -> dict[str, Any]:
    """Return what a run is to do, by whom, and how far it is."""
    return run_contents([run])[0]


def run_contents(runs: Sequence[RotationRun]) -> list[dict[str, Any]]:
    """Return that of several runs, in as many queries as for one."""
    return [_content(run, told) for run, told in zip(runs, progress_of(runs), strict=True)]


def failure_content(failure: RotationFailure) -> dict[str, Any]:
    """Return which value could not be moved, and why."""
    place = failure.range.place
    return {
        "database": place.database,
        "schema": place.named_schema,
        "field": str(place),
        "row": failure.row,
        "version_id": failure.version_id,
        "cause": failure.cause,
        "message": failure.message,
    }


def _content(run: RotationRun, told: Progress) -> dict[str, Any]:
    return {
        "id": str(run.pk),
        "kind": str(run.kind),
        "key": {"id": str(run.master_key_id), "alias": run.master_key.alias},
        "state": str(run.state),
        "versions": run.only_versions,
        "fields": run.only_fields,
        "database": run.only_database or None,
        "actor": {"type": run.actor_type, "id": run.actor_id, "name": run.actor_name},
        "created_at": run.created_at,
        "seen_at": run.seen_at,
        "finished_at": run.finished_at,
        "error": run.error or None,
        "total": told.total,
        "moved": told.moved,
        "skipped": told.skipped,
        "failed": told.failed,
        "left": told.left,
        "rate": round(told.rate, 1),
        "seconds_left": None if told.time_left is None else round(told.time_left.total_seconds()),
        "progress": [asdict(field) for field in told.fields],
    }
