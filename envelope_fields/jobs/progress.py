"""How far runs are: what was recorded of their ranges, added up for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.jobs.ranges import Sums, failures_of, sums_of
from envelope_fields.jobs.runs import HEARTBEAT_EVERY
from envelope_fields.models import RotationColumn, RotationFailure, RotationRun, RotationState


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


def progress(run: RotationRun) -> Progress:
    """Return how far a run is, as its rows have it; the census says for certain what remains."""
    return progress_of([run])[0]


def progress_of(runs: Sequence[RotationRun]) -> list[Progress]:
    """Return how far each of some runs is, in as many queries as for one."""
    columns: dict[UUID, list[RotationColumn]] = {run.pk: [] for run in runs}
    rows = RotationColumn.objects.using(configuration().database).filter(run__in=list(columns))
    for column in rows.order_by("pk"):
        columns[column.run_id].append(column)
    sums: defaultdict[int, Sums] = defaultdict(Sums)
    for met in sums_of(columns):
        sums[met.column].append(met)
    return [
        _progress(run, [(column, sums[column.pk]) for column in columns[run.pk]]) for run in runs
    ]


def failures(run: RotationRun) -> QuerySet[RotationFailure]:
    """Return the values that a run could not move, of each range the first.

    Those of the last pass over each column: they fail in each pass again.
    """
    latest = Q(pk=None)
    for met in sums_of([run.pk]).latest():
        latest |= Q(range__column=met.column, range__pass_number=met.number)
    return failures_of(latest).select_related("range__column")


def _progress(run: RotationRun, columns: Sequence[tuple[RotationColumn, Sums]]) -> Progress:
    names_schemas = any(column.named_schema for column, _ in columns)
    is_over = run.state == RotationState.COMPLETED
    fields = [
        FieldProgress(
            database=column.database,
            field=str(column),
            total=column.total,
            moved=sums.moved,
            skipped=sums.skipped,
            failed=sums.failed,
            remaining=0 if is_over else max(column.total - sums.values, 0),
            schema=column.schema or None if names_schemas else None,
        )
        for column, sums in columns
    ]
    moved, remaining = sum(each.moved for each in fields), sum(each.remaining for each in fields)
    rate = _rate(run, moved)
    is_timed = run.state == RotationState.RUNNING and rate
    return Progress(
        state=str(run.state),
        fields=fields,
        total=sum(each.total for each in fields),
        moved=moved,
        skipped=sum(each.skipped for each in fields),
        failed=sum(each.failed for each in fields),
        remaining=remaining,
        rate=rate,
        time_remaining=timedelta(seconds=remaining / rate) if is_timed else None,
    )


def _rate(run: RotationRun, moved: int) -> float:
    if run.resumed_at is None:
        return 0
    seconds = (_worked_until(run) - run.resumed_at).total_seconds()
    return (moved - run.moved_before) / seconds if seconds > 0 else 0


def _worked_until(run: RotationRun) -> datetime:
    """Return until when it was worked on: heartbeats come now and then, not with every batch."""
    now = timezone.now()
    if run.finished_at is not None or run.heartbeat_at is None:
        return run.finished_at or now
    return min(run.heartbeat_at + HEARTBEAT_EVERY, now)
