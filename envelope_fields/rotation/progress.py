"""How far a run is: per field and in all, how fast, and how long it will take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.models import (
    RotationFailure,
    RotationPlace,
    RotationRun,
    RotationState,
)
from envelope_fields.rotation.numbers import RunNumbers, numbers_of, numbers_of_runs
from envelope_fields.rotation.runs import SEEN_EVERY


@dataclass(frozen=True, slots=True)
class FieldProgress:
    """How far a run is with one field.

    Attributes:
        database: the alias in `DATABASES`.
        field: `app_label.Model.field`.
        total: values to look at, as the run began.
        moved: are under the current version now.
        skipped: somebody else wrote, deleted or locked them when their turn came.
        failed: could not be opened.
        left: how many of them have not had their turn.
        schema: the schema of the table; None where the database has none, or the run moves values
            in `public` alone.
    """

    database: str
    field: str
    total: int
    moved: int
    skipped: int
    failed: int
    left: int
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        state: its `RotationState`.
        fields: per field.
        total, moved, skipped, failed, left: their sums.
        rate: values a second since it was started or resumed; 0 before the first batch.
        time_left: as long as the rest takes at that rate; None if that is not known.
    """

    state: str
    fields: Sequence[FieldProgress]
    total: int
    moved: int
    skipped: int
    failed: int
    left: int
    rate: float
    time_left: timedelta | None


def progress(run: RotationRun) -> Progress:
    """Return how far a run is, as its rows tell; the census says what is left for certain."""
    return progress_of([run])[0]


def progress_of(runs: Sequence[RotationRun]) -> list[Progress]:
    """Return how far each of some runs is, in as many queries as for one."""
    places: dict[UUID, list[RotationPlace]] = {run.pk: [] for run in runs}
    rows = RotationPlace.objects.using(configuration().database).filter(run__in=list(places))
    for place in rows.order_by("pk"):
        places[place.run_id].append(place)
    numbers: defaultdict[int, RunNumbers] = defaultdict(RunNumbers)
    for each in numbers_of_runs(list(places)):
        numbers[each.place].append(each)
    return [_progress(run, places[run.pk], numbers) for run in runs]


def _progress(
    run: RotationRun, places: list[RotationPlace], of_places: Mapping[int, RunNumbers]
) -> Progress:
    numbers = RunNumbers(each for place in places for each in of_places[place.pk])
    are_told_apart = any(place.named_schema for place in places)
    fields = [
        _field(place, numbers.of(place.pk), run, place.schema or None if are_told_apart else None)
        for place in places
    ]
    left, rate = sum(field.left for field in fields), _rate(run, numbers.moved)
    is_running = run.state == RotationState.RUNNING
    return Progress(
        state=str(run.state),
        fields=fields,
        total=sum(field.total for field in fields),
        moved=numbers.moved,
        skipped=numbers.skipped,
        failed=numbers.failed,
        left=left,
        rate=rate,
        time_left=timedelta(seconds=left / rate) if is_running and rate else None,
    )


def failures(run: RotationRun) -> QuerySet[RotationFailure]:
    """Return the values that a run could not move, of each range the first.

    Those of the last sweep over each place: they fail in each sweep again.
    """
    rows = RotationFailure.objects.using(configuration().database)
    latest = Q(pk=None)
    for each in numbers_of(run).latest():
        latest |= Q(range__place=each.place, range__sweep=each.sweep)
    return rows.filter(latest).select_related("range__place")


def _field(
    place: RotationPlace, numbers: RunNumbers, run: RotationRun, schema: str | None
) -> FieldProgress:
    gone = numbers.moved + numbers.skipped + numbers.failed + numbers.kept
    is_over = run.state == RotationState.COMPLETED
    return FieldProgress(
        database=place.database,
        field=str(place),
        total=place.total,
        moved=numbers.moved,
        skipped=numbers.skipped,
        failed=numbers.failed,
        left=0 if is_over else max(place.total - gone, 0),
        schema=schema,
    )


def _rate(run: RotationRun, moved: int) -> float:
    if run.resumed_at is None:
        return 0
    seconds = (_worked_until(run) - run.resumed_at).total_seconds()
    return (moved - run.moved_before) / seconds if seconds > 0 else 0


def _worked_until(run: RotationRun) -> datetime:
    """Return until when somebody was at it: they say so now and then, not with every batch."""
    now = timezone.now()
    if run.finished_at is not None or run.seen_at is None:
        return run.finished_at or now
    return min(run.seen_at + SEEN_EVERY, now)
