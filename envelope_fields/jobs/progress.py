"""How far a run is: what is recorded while ranges are gone through, and what it adds up to.

Which values failed is recorded, too: nothing of the values themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from uuid import UUID

from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.jobs.job import BatchResult, Failed, displayed_key
from envelope_fields.jobs.runs import HEARTBEAT_EVERY
from envelope_fields.models import (
    RotationColumn,
    RotationFailure,
    RotationRange,
    RotationRun,
    RotationState,
)

# Of one range. All are counted; a list of a million would be of no help.
FAILURES_KEPT = 100
_COUNTED = ("moved", "skipped", "kept", "failed")


# Recording


def begin_range(chunk: RotationRange) -> None:
    """Begin a range, maybe after a process that did not end it: what failed then fails again.

    The process that began last records what was met in it, so that nothing is counted twice; what
    others move meanwhile is moved all the same.
    """
    chunk.claimed_at = timezone.now()
    _row(chunk).update(failed=0, kept=0, skipped=0, claimed_at=chunk.claimed_at)
    _failures().filter(range=chunk.pk).delete()


def record_moved(chunk: RotationRange, values: int) -> None:
    """Add values that were moved, in the transaction in which they are, by any process."""
    _row(chunk).update(moved=F("moved") + values)


def record_met(chunk: RotationRange, result: BatchResult) -> None:
    """Add what else a batch has met."""
    if result.values == result.moved:
        return
    is_mine = _mine(chunk).update(
        skipped=F("skipped") + result.skipped,
        kept=F("kept") + result.kept,
        failed=F("failed") + len(result.failed),
    )
    if is_mine and result.failed:
        room = FAILURES_KEPT - _failures().filter(range=chunk.pk).count()
        found = [_failure(chunk, each) for each in result.failed[: max(room, 0)]]
        _failures().bulk_create(found)


def end_range(chunk: RotationRange) -> None:
    """Say that all rows of a range were gone through."""
    _mine(chunk).update(done_at=timezone.now())


def _failure(chunk: RotationRange, failed: Failed) -> RotationFailure:
    return RotationFailure(
        range=chunk,
        row=displayed_key(failed.stored.key),
        version_id=failed.stored.version_id.hex(),
        cause=failed.cause[:200],
        message=failed.message,
    )


def _mine(chunk: RotationRange) -> QuerySet[RotationRange]:
    return _row(chunk).filter(claimed_at=chunk.claimed_at)


def _row(chunk: RotationRange) -> QuerySet[RotationRange]:
    return RotationRange.objects.using(configuration().database).filter(pk=chunk.pk)


def _failures() -> QuerySet[RotationFailure]:
    return RotationFailure.objects.using(configuration().database)


# Adding up


@dataclass(frozen=True, slots=True)
class Met:
    """The sums of one pass over one column.

    Attributes:
        column: the id of the `RotationColumn`.
        number: which pass.
        moved, skipped, kept, failed: as `BatchResult` has them.
    """

    column: int
    number: int
    moved: int
    skipped: int
    kept: int
    failed: int


class Numbers(list[Met]):
    """The sums of a run. What failed, fails in each pass again; what is moved is moved once.

    A pass goes only over the columns that the one before has not done with.
    """

    @property
    def moved(self) -> int:
        return sum(each.moved for each in self)

    @property
    def skipped(self) -> int:
        return sum(each.skipped for each in self)

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.latest())

    @property
    def kept(self) -> int:
        return sum(each.kept for each in self.latest())

    def moved_since(self, number: int) -> int:
        return sum(each.moved for each in self if each.number >= number)

    def of(self, column: int | None, until: float = inf) -> Numbers:
        return Numbers(each for each in self if each.column == column and each.number <= until)

    def last_of(self, column: int | None, until: float) -> Met | None:
        """Return those of the last pass over a column, if there was one."""
        return next(iter(self.of(column, until).latest()), None)

    def latest(self) -> list[Met]:
        """Return those of the last pass over each column."""
        by_pass = sorted(self, key=lambda met: met.number)
        return list({each.column: each for each in by_pass}.values())


def numbers_of(run: RotationRun) -> Numbers:
    """Return the sums of a run's ranges."""
    return numbers_of_runs([run.pk])


def numbers_of_runs(runs: Sequence[UUID]) -> Numbers:
    """Return the sums of the ranges of some runs, in one query."""
    rows = RotationRange.objects.using(configuration().database).filter(column__run__in=runs)
    sums = {name: Sum(name) for name in _COUNTED}
    found = rows.order_by().values("column", "pass_number").annotate(**sums)
    return Numbers(Met(*row) for row in found.values_list("column", "pass_number", *sums))


# Progress


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
    numbers: defaultdict[int, Numbers] = defaultdict(Numbers)
    for each in numbers_of_runs(list(columns)):
        numbers[each.column].append(each)
    return [_progress(run, columns[run.pk], numbers) for run in runs]


def failures(run: RotationRun) -> QuerySet[RotationFailure]:
    """Return the values that a run could not move, of each range the first.

    Those of the last pass over each column: they fail in each pass again.
    """
    latest = Q(pk=None)
    for each in numbers_of(run).latest():
        latest |= Q(range__column=each.column, range__pass_number=each.number)
    return _failures().filter(latest).select_related("range__column")


def _progress(
    run: RotationRun, columns: list[RotationColumn], of_columns: Mapping[int, Numbers]
) -> Progress:
    numbers = Numbers(each for column in columns for each in of_columns[column.pk])
    names_schemas = any(column.named_schema for column in columns)
    fields = [
        _field(column, numbers.of(column.pk), run, column.schema or None if names_schemas else None)
        for column in columns
    ]
    remaining, rate = sum(field.remaining for field in fields), _rate(run, numbers.moved)
    is_running = run.state == RotationState.RUNNING
    return Progress(
        state=str(run.state),
        fields=fields,
        total=sum(field.total for field in fields),
        moved=numbers.moved,
        skipped=numbers.skipped,
        failed=numbers.failed,
        remaining=remaining,
        rate=rate,
        time_remaining=timedelta(seconds=remaining / rate) if is_running and rate else None,
    )


def _field(
    column: RotationColumn, numbers: Numbers, run: RotationRun, schema: str | None
) -> FieldProgress:
    gone = numbers.moved + numbers.skipped + numbers.failed + numbers.kept
    is_over = run.state == RotationState.COMPLETED
    return FieldProgress(
        database=column.database,
        field=str(column),
        total=column.total,
        moved=numbers.moved,
        skipped=numbers.skipped,
        failed=numbers.failed,
        remaining=0 if is_over else max(column.total - gone, 0),
        schema=schema,
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
