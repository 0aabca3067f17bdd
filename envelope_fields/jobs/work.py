"""Work on a run: pass after pass over its columns, until nothing remains that can be moved.

Others write while a run goes on; a process that has not heard of a rotation yet does so under the
old version, for `KEY_CACHE_SECONDS`. So the census says when a run is over, not the last row.

Any number of processes may work on a run at once, and any of them may die: a range that is gone
through twice is read twice, and its values are moved once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cached_property, partial
from uuid import UUID

from django.db import connections, transaction
from django.utils import timezone

from envelope_fields import databases, models
from envelope_fields.census.columns import Column, find_column
from envelope_fields.conf import configuration
from envelope_fields.exceptions import quantity
from envelope_fields.jobs import ranges, runs
from envelope_fields.jobs.batches import Batches, persist
from envelope_fields.jobs.job import BatchResult, Job, scope_of
from envelope_fields.jobs.throttle import Limits
from envelope_fields.policy import acting_as

Watcher = Callable[[BatchResult], None]
ByKey = Counter[UUID | None]

_COLUMN = ("database", "schema", "model", "field")


def unwatched(result: BatchResult) -> None:
    """Watch nothing."""


def work(run: models.RotationRun, watch: Watcher = unwatched) -> models.RotationRun:
    """Work on a run in this process until it is over, or is paused or cancelled.

    Args:
        watch: called after each batch.

    Raises:
        EnvelopeError, ImproperlyConfigured, Error: the run cannot go on, and says so.
    """
    current = None
    while True:
        run, current = _begun(run, current)
        if not is_open(run):
            return run
        chunk = persist(partial(ranges.claim, run))
        if chunk is None:
            finish(run)
            continue
        with runs.failing(run):
            current = current or persist(partial(Pass, run))
        move_range(chunk, watch, current=current)


def begun(run: models.RotationRun) -> models.RotationRun:
    """Return a run as it is now, with the ranges of its pass; begin it if it has not begun."""
    return _begun(run, None)[0]


def _begun(run: models.RotationRun, known: Pass | None) -> tuple[models.RotationRun, Pass | None]:
    """Return a run as it is now, and its pass where that is known or was planned here."""
    now = persist(partial(_running, run))
    if not is_open(now) or now.is_planned:
        return now, known if known and known.number == now.pass_number else None
    with runs.failing(now):
        planned = persist(partial(_planned, now))
    return persist(partial(runs.find_run, run)), planned


def _running(run: models.RotationRun) -> models.RotationRun:
    which = runs.all_runs().filter(pk=run.pk, state=models.RotationState.PENDING)
    which.update(state=models.RotationState.RUNNING, resumed_at=databases.now())
    return runs.find_run(run)


def _planned(run: models.RotationRun) -> Pass:
    planned = Pass(run)
    planned.plan()
    return planned


def is_open(run: models.RotationRun) -> bool:
    """Whether there is something to do on a run, as it was read."""
    return run.state == models.RotationState.RUNNING


def finish(run: models.RotationRun) -> None:
    """End a run whose pass is done, or begin another one."""
    with runs.failing(run):
        persist(lambda: Pass(run).finish())


def move_range(
    chunk: models.RotationRange,
    watch: Watcher = unwatched,
    *,
    workers: int = 1,
    current: Pass | None = None,
) -> None:
    """Do the job of a run in a range, or in what remains of it when the run is paused.

    Args:
        chunk: the range.
        watch: called after each batch.
        workers: how many go on at this rate together.
        current: the pass of the run, where it is known.

    Raises:
        EnvelopeError, ImproperlyConfigured, Error: the run cannot go on, and says so.
    """
    ended = False
    while not ended and is_open(run := runs.find_run(chunk.column.run_id)):
        limits = Limits.kept(run.limits).shared_by(workers)
        with runs.failing(run), acting_as(runs.principal_of_run(run)):
            current = current or Pass(run)
            move = partial(_moved, chunk, run, current, limits, watch)
            ended = persist(move, chunk.column.database, tries=limits.tries)


def _moved(
    chunk: models.RotationRange,
    run: models.RotationRun,
    current: Pass,
    limits: Limits,
    watch: Watcher,
) -> bool:
    """Go through a range; return whether to the end, or the run has changed meanwhile."""
    column, job = current.job(chunk.column)
    record, again = partial(ranges.record_moved, chunk), chunk.pass_number > 1
    batches = Batches(column, job, limits, record, looks_back=again)
    ranges.begin_range(chunk)
    for result in batches.between(current.scope.version_ids(column), *ranges.bounds(chunk)):
        ranges.record_met(chunk, result)
        watch(result)
        if not _goes_on(run, timezone.now() + current.ahead):
            return False
    ranges.end_range(chunk)
    return True


def _goes_on(run: models.RotationRun, now: datetime) -> bool:
    """Write a heartbeat where it is due; return whether the run is as it was read, and running."""
    mine = runs.all_runs().filter(pk=run.pk)
    found = mine.values_list("state", "limits", "heartbeat_at").first()
    state, limits, heartbeat_at = found or (None, None, None)
    goes_on = state == models.RotationState.RUNNING and limits == run.limits
    # Most batches do without this commit. By the clock of another machine, it may be ahead.
    is_known = (
        heartbeat_at is not None and timedelta(0) <= now - heartbeat_at < runs.HEARTBEAT_EVERY
    )
    if not (goes_on and is_known):
        mine.update(heartbeat_at=now)
    return goes_on


class Pass:
    """One pass of a run: its scope, its columns and what was met in them are found out once."""

    def __init__(self, run: models.RotationRun) -> None:
        self.run = run
        self.number = run.pass_number
        self.scope = scope_of(run)
        self.ahead = databases.ahead()  # asked once: each batch tells the time
        self._jobs: dict[int, tuple[Column, Job]] = {}

    def job(self, row: models.RotationColumn) -> tuple[Column, Job]:
        """Return the column of one of the run's rows, and its job, the same for all its ranges.

        Raises:
            NoSuchField: the model or its field is not there any more, or the schema is not.
            Error: the database cannot be looked at.
        """
        if row.pk not in self._jobs:
            column = find_column(row.database, row.schema, row.model, row.field)
            self._jobs[row.pk] = column, self.scope.job(column)
        return self._jobs[row.pk]

    def plan(self, remaining: Mapping[Column, int] | None = None) -> None:
        """Cut what the pass goes over into ranges; those that another process has cut stay.

        Args:
            remaining: how many values each column still holds, where the pass before has counted.
        """
        found: ByKey = Counter()
        for column in self.scope.columns():
            if self.number == 1:
                by_key = self.scope.count(column)
                found += by_key
                values = by_key.total()
            elif remaining is not None:
                values = remaining.get(column, 0)
            else:  # what the last pass is done with is not gone over again
                values = self._remaining(column, self.number - 1)[0]
            if values:
                ranges.cut(self._row(column, values), column, self.number)
        if self.number == 1:
            _record_by_key(self.run, found, "total", "remaining")
        here = runs.all_runs().filter(pk=self.run.pk, pass_number=self.number)
        here.update(is_planned=True, heartbeat_at=timezone.now() + self.ahead)

    def finish(self) -> None:
        """End the run, or begin another pass, where the census says that it must.

        To be called on what is found out anew after the last range: keys may have been rotated.
        """
        found = {column: self._remaining(column, self.number) for column in self.scope.columns()}
        remaining = {column: values for column, (values, _) in found.items() if values}
        by_key = sum((each for _, each in found.values()), Counter())
        _record_by_key(self.run, by_key, "remaining")
        lately = [each.moved for each in self._met if each.number >= self.number - 1]
        end = partial(runs.ended, self.run, moved=self._met.moved, failed=self._met.failed)
        if not remaining:
            self.scope.completed(end(models.RotationState.COMPLETED))
        elif self.number < self.scope.most_passes and (self.number == 1 or any(lately)):
            self._begin_next(remaining)
        else:
            stayed = quantity(sum(remaining.values()), "value")
            end(models.RotationState.FAILED, f"{stayed} {self.scope.why_some_stay}")

    def _begin_next(self, remaining: Mapping[Column, int]) -> None:
        here = runs.all_runs().filter(pk=self.run.pk, pass_number=self.number, is_planned=True)
        if here.update(pass_number=self.number + 1, is_planned=False):
            Pass(runs.find_run(self.run)).plan(remaining)

    def _remaining(self, column: Column, after_pass: int) -> tuple[int, ByKey]:
        """Count the values of a column that are still to be moved, after a pass; and by key.

        What failed in it would fail again. The census does not see what is under the current
        version and does not belong there; of that, what was skipped remains.
        """
        by_key = self.scope.count_remaining(column)
        values, row = by_key.total(), self._rows.get(column.names)
        for met in self._met.latest(until=after_pass):
            if met.column == row:
                values = max(values - met.failed, 0)
                if self.scope.sees_only_by_looking(column):
                    values = max(values, met.skipped)
        return values, by_key

    @cached_property
    def _met(self) -> ranges.Sums:
        return ranges.sums_of([self.run.pk])

    @cached_property
    def _rows(self) -> dict[tuple[str, ...], int]:
        """The ids of the run's rows of columns, by where these are."""
        rows = self.run.columns.using(configuration().database).values_list(*_COLUMN, "pk")
        return {row[:-1]: row[-1] for row in rows}

    def _row(self, column: Column, values: int) -> models.RotationColumn:
        using, which = configuration().database, dict(zip(_COLUMN, column.names, strict=True))
        rows = self.run.columns.using(using)
        with transaction.atomic(using=using):
            ranges.lock_run(self.run.pk)
            if not rows.filter(**which).exists():
                rows.bulk_create([models.RotationColumn(run=self.run, total=values, **which)])
        return rows.get(**which)


def _record_by_key(run: models.RotationRun, values: ByKey, *names: str) -> None:
    """Write how many values there are under each key, of a run about several."""
    if run.master_key_id is not None:
        return
    using = configuration().database
    rows = models.RotationKey.objects.using(using).filter(run=run.pk)
    rows.update(**dict.fromkeys(names, 0))
    changed = [
        models.RotationKey(
            pk=pk, run=run, master_key_id=key_id, **dict.fromkeys(names, values[key_id])
        )
        for pk, key_id in rows.values_list("pk", "master_key_id")
        if values[key_id]
    ]
    names_target = connections[using].features.supports_update_conflicts_with_target
    rows.bulk_create(
        changed,
        update_conflicts=True,
        update_fields=names,
        unique_fields=["pk"] if names_target else None,
        batch_size=databases.IN_A_QUERY,
    )
