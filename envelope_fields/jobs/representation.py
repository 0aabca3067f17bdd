"""What is said of a run: what it is about, and how far it is, as its rows add up.

As plain data for JSON, the same in commands, the admin and the API. The census says for certain
what remains.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from envelope_fields import models
from envelope_fields.conf import configuration
from envelope_fields.exceptions import quantity
from envelope_fields.jobs.ranges import Sums, failures_of, sums_of
from envelope_fields.jobs.runs import HEARTBEAT_EVERY

KEYS_SHOWN = 100  # of a run about many


@dataclass(frozen=True, slots=True)
class FieldProgress:
    """How far a run is with one field.

    Attributes:
        database: the alias in `DATABASES`.
        field: `app_label.Model.field`.
        total: values to look at, as the run began.
        moved: are under the current version now.
        skipped: others wrote, deleted or locked them when their turn came.
        failed: could not be opened.
        remaining: how many of them have not had their turn.
        schema: the schema of the table; None where the database has none, or the run moves values
            in `public` alone.
    """

    database: str
    field: str
    total: int
    moved: int
    skipped: int
    failed: int
    remaining: int
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        state: its `RotationState`.
        fields: per field.
        total, moved, skipped, failed, remaining: their sums.
        rate: values a second since it was started or resumed; 0 before the first batch.
        time_remaining: as long as the rest takes at that rate; None if that is not known.
    """

    state: str
    fields: Sequence[FieldProgress]
    total: int
    moved: int
    skipped: int
    failed: int
    remaining: int
    rate: float
    time_remaining: timedelta | None


def progress(run: models.RotationRun) -> Progress:
    """Return how far a run is, as its rows have it; the census says for certain what remains."""
    return progress_of([run])[0]


def progress_of(runs: Sequence[models.RotationRun]) -> list[Progress]:
    """Return how far each of some runs is, in as many queries as for one."""
    columns: dict[UUID, list[models.RotationColumn]] = {run.pk: [] for run in runs}
    rows = models.RotationColumn.objects.using(configuration().database).filter(
        run__in=list(columns)
    )
    for column in rows.order_by("pk"):
        columns[column.run_id].append(column)
    sums: defaultdict[int, Sums] = defaultdict(Sums)
    for met in sums_of(columns):
        sums[met.column].append(met)
    return [
        _progress(run, [(column, sums[column.pk]) for column in columns[run.pk]]) for run in runs
    ]


def failures(run: models.RotationRun) -> QuerySet[models.RotationFailure]:
    """Return the values that a run could not move, of each range the first.

    Those of the last pass over each column: they fail in each pass again.
    """
    latest = Q(pk=None)
    for met in sums_of([run.pk]).latest():
        latest |= Q(range__column=met.column, range__pass_number=met.number)
    return failures_of(latest).select_related("range__column")


def _progress(
    run: models.RotationRun, columns: Sequence[tuple[models.RotationColumn, Sums]]
) -> Progress:
    names_schemas = any(column.named_schema for column, _ in columns)
    is_over = run.state == models.RotationState.COMPLETED
    fields = [
        FieldProgress(
            database=column.database,
            field=str(column),
            total=column.total,
            moved=met.moved,
            skipped=met.skipped,
            failed=met.failed,
            remaining=0 if is_over else max(column.total - met.values, 0),
            schema=column.schema or None if names_schemas else None,
        )
        for column, met in columns
    ]
    summed = ("total", "moved", "skipped", "failed", "remaining")
    sums = {name: sum(getattr(each, name) for each in fields) for name in summed}
    rate = _rate(run, sums["moved"])
    is_timed = run.state == models.RotationState.RUNNING and rate
    remaining = timedelta(seconds=sums["remaining"] / rate) if is_timed else None
    return Progress(str(run.state), fields, **sums, rate=rate, time_remaining=remaining)


def _rate(run: models.RotationRun, moved: int) -> float:
    if run.resumed_at is None:
        return 0
    seconds = (_worked_until(run) - run.resumed_at).total_seconds()
    return (moved - run.moved_before) / seconds if seconds > 0 else 0


def _worked_until(run: models.RotationRun) -> datetime:
    """Return until when it was worked on: heartbeats come now and then, not with every batch."""
    if run.finished_at is not None or run.heartbeat_at is None:
        return run.finished_at or timezone.now()
    soon = min(run.heartbeat_at + HEARTBEAT_EVERY, timezone.now())
    return max(run.heartbeat_at, soon)  # this machine's clock may be behind


# As plain data


def run_title(run: models.RotationRun) -> str:
    """Name what a run is about: a field, its key, or how many keys; all where it names none."""
    if run.is_about_field:
        return ", ".join(run.only_fields)
    if run.master_key is not None:
        return str(run.master_key)
    keys = _keys(run).count()
    return quantity(keys, "key") if keys else "all keys"


def run_content(run: models.RotationRun) -> dict[str, Any]:
    """Return what a run is to do, by whom, and how far it is."""
    return run_contents([run])[0]


def run_contents(runs: Sequence[models.RotationRun]) -> list[dict[str, Any]]:
    """Return that of several runs, in few queries more than for one."""
    return list(map(_run_content, runs, progress_of(runs)))


def content_with_failures(run: models.RotationRun) -> dict[str, Any]:
    """Return the same of a run, with the values that it could not move."""
    return {**run_content(run), "failures": list(map(failure_content, failures(run)))}


def failure_content(failure: models.RotationFailure) -> dict[str, Any]:
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


def key_contents(run: models.RotationRun) -> list[dict[str, Any]]:
    """Return what became of each key of a run about several, of the first: by the census.

    `total` are the values that it began with, `remaining` those that were there at its last look.
    """
    if run.master_key is not None:
        return []
    rows = _keys(run).select_related("master_key").order_by("master_key__alias")
    return [
        {**key_content(row.master_key), "total": row.total, "remaining": row.remaining}
        for row in rows[:KEYS_SHOWN]
    ]


def _keys(run: models.RotationRun) -> QuerySet[models.RotationKey]:
    return models.RotationKey.objects.using(configuration().database).filter(run=run.pk)


def _run_content(run: models.RotationRun, progress: Progress) -> dict[str, Any]:
    seconds = progress.time_remaining
    return {
        "id": str(run.pk),
        "kind": str(run.kind),
        "key": None if run.master_key is None else key_content(run.master_key),
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
        "progress": list(map(_field_content, progress.fields)),
    }


def _field_content(field: FieldProgress) -> dict[str, Any]:
    content = asdict(field)
    content["left"] = content.pop("remaining")
    return content


def key_content(key: models.MasterKey) -> dict[str, Any]:
    """Return by what a key is named."""
    return {"id": str(key.pk), "alias": key.alias}
