"""How far a run is: per field and in all, how fast, and how long it will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import QuerySet, Sum
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.models import (
    RotationFailure,
    RotationPlace,
    RotationRange,
    RotationRun,
    RotationState,
)

_COUNTED = ("moved", "skipped", "kept", "failed")


@dataclass(frozen=True, slots=True)
class Numbers:
    """The sums of one sweep over one place.

    Attributes:
        place: the id of the `RotationPlace`.
        sweep: which sweep.
        moved, skipped, kept, failed: as `Tally` has them.
    """

    place: int
    sweep: int
    moved: int
    skipped: int
    kept: int
    failed: int


class RunNumbers(list[Numbers]):
    """The sums of a run. What failed, fails in each sweep again; what is moved is moved once."""

    @property
    def moved(self) -> int:
        return sum(each.moved for each in self)

    @property
    def skipped(self) -> int:
        return sum(each.skipped for each in self)

    @property
    def failed(self) -> int:
        return self.failed_of(self.last_sweep)

    @property
    def last_sweep(self) -> int:
        return max((each.sweep for each in self), default=1)

    def moved_of(self, sweep: int) -> int:
        return sum(each.moved for each in self if each.sweep == sweep)

    def failed_of(self, sweep: int) -> int:
        return sum(each.failed for each in self if each.sweep == sweep)

    def kept_of(self, sweep: int) -> int:
        return sum(each.kept for each in self if each.sweep == sweep)

    def of(self, place: int) -> RunNumbers:
        return RunNumbers(each for each in self if each.place == place)


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
    """

    database: str
    field: str
    total: int
    moved: int
    skipped: int
    failed: int
    left: int


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
    return progress_of([run])[run.pk]


def progress_of(runs: Sequence[RotationRun]) -> dict[UUID, Progress]:
    """Return how far each of some runs is, by its id; it takes two queries, however many."""
    rows = RotationPlace.objects.using(configuration().database)
    places: dict[UUID, list[FieldProgress]] = {run.pk: [] for run in runs}
    numbers, by_id = _numbers(list(places)), {run.pk: run for run in runs}
    for place in rows.filter(run__in=by_id).order_by("pk"):
        run = by_id[place.run_id]
        places[run.pk].append(_field(place, numbers[run.pk].of(place.pk), run))
    return {run.pk: _progress(run, places[run.pk], numbers[run.pk]) for run in runs}


def numbers_of(run: RotationRun) -> RunNumbers:
    """Return the sums of a run's ranges."""
    return _numbers([run.pk])[run.pk]


def _numbers(run_ids: Sequence[UUID]) -> dict[UUID, RunNumbers]:
    rows = RotationRange.objects.using(configuration().database).filter(place__run__in=run_ids)
    sums = {name: Sum(name) for name in _COUNTED}
    found = rows.order_by().values("place__run", "place", "sweep").annotate(**sums)
    numbers = {run_id: RunNumbers() for run_id in run_ids}
    for run_id, *row in found.values_list("place__run", "place", "sweep", *sums):
        numbers[run_id].append(Numbers(*row))
    return numbers


def _progress(run: RotationRun, fields: Sequence[FieldProgress], numbers: RunNumbers) -> Progress:
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
    """Return the values that a run could not move in its last sweep, of each range the first."""
    rows = RotationFailure.objects.using(configuration().database)
    last = numbers_of(run).last_sweep
    return rows.filter(range__place__run=run.pk, range__sweep=last).select_related("range__place")


def _field(place: RotationPlace, numbers: RunNumbers, run: RotationRun) -> FieldProgress:
    kept = numbers.kept_of(numbers.last_sweep)
    gone = numbers.moved + numbers.skipped + numbers.failed + kept
    is_over = run.state == RotationState.COMPLETED
    return FieldProgress(
        database=place.database,
        field=str(place),
        total=place.total,
        moved=numbers.moved,
        skipped=numbers.skipped,
        failed=numbers.failed,
        left=0 if is_over else max(place.total - gone, 0),
    )


def _rate(run: RotationRun, moved: int) -> float:
    if run.resumed_at is None:
        return 0
    until = run.finished_at or run.seen_at or timezone.now()
    seconds = (until - run.resumed_at).total_seconds()
    return (moved - run.moved_before) / seconds if seconds > 0 else 0
