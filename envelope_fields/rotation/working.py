"""Working on a run: sweep after sweep over its tables, until nothing is left that can be moved.

Any number of processes may work on a run at once, and any of them may die: a range that is done
twice is read twice, and moved once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import sleep

from django.db import Error, transaction
from django.utils import timezone

from envelope_fields.census import count_versions
from envelope_fields.columns import Column
from envelope_fields.conf import configuration
from envelope_fields.models import (
    RotationPlace,
    RotationRange,
    RotationRun,
    RotationState,
)
from envelope_fields.policy import acting_as
from envelope_fields.rotation import primary_keys, ranges
from envelope_fields.rotation.batches import Batches, Tally
from envelope_fields.rotation.limits import Limits
from envelope_fields.rotation.patience import passes, said
from envelope_fields.rotation.progress import Numbers, numbers_of
from envelope_fields.rotation.recording import began, ended_range, record
from envelope_fields.rotation.runs import all_runs, ended, find_run, principal_of_run
from envelope_fields.rotation.scope import chosen_columns, column_of, scope_of

Watcher = Callable[[Tally], None]


def _unwatched(tally: Tally) -> None:
    """Nobody wants to know."""


def work(run: RotationRun, watch: Watcher = _unwatched) -> RotationRun:
    """Work on a run in this process until it is over, or somebody pauses or cancels it.

    Args:
        run: the run.
        watch: called after each batch.

    Raises:
        EnvelopeError, ImproperlyConfigured, Error: the run cannot go on, and says so.
    """
    while is_open(run := begun(run)):
        stretch = ranges.claim(run)
        if stretch is None:
            swept(run)
        else:
            move_range(stretch, watch)
    return run


def begun(run: RotationRun) -> RotationRun:
    """Return a run as it is now, with the ranges of its sweep; begin it if nobody has."""
    which = all_runs().filter(pk=run.pk, state=RotationState.PENDING)
    which.update(state=RotationState.RUNNING, resumed_at=timezone.now())
    now = find_run(run)
    if is_open(now) and not now.is_planned:
        with failing(now):
            _plan(now)
        now = find_run(run)
    return now


def is_open(run: RotationRun) -> bool:
    """Whether there is something to do on a run, as it was read."""
    return run.state == RotationState.RUNNING


def move_range(stretch: RotationRange, watch: Watcher = _unwatched, workers: int = 1) -> None:
    """Move the values of a range, or those that are left of it when the run is paused.

    Args:
        stretch: the range.
        watch: called after each batch.
        workers: how many go on at this rate together.

    Raises:
        EnvelopeError, ImproperlyConfigured, Error: the run cannot go on, and says so.
    """
    ended = False
    while not ended and is_open(run := find_run(stretch.place.run_id)):
        with failing(run), acting_as(principal_of_run(run)):
            ended = _move_patiently(stretch, run, Limits(**run.limits).shared_by(workers), watch)


def _move_patiently(
    stretch: RotationRange, run: RotationRun, limits: Limits, watch: Watcher
) -> bool:
    for attempt in range(limits.tries):
        try:
            return _move(stretch, run, limits, watch)
        except Error as error:
            is_last = attempt == limits.tries - 1
            if is_last or not passes(error, stretch.place.database, configuration().database):
                raise
            sleep(min(0.1 * 2**attempt, 1))
    raise AssertionError("unreachable: the last try returns or raises")


def _move(stretch: RotationRange, run: RotationRun, limits: Limits, watch: Watcher) -> bool:
    """Go through a range; return whether to the end, or the run has changed meanwhile."""
    batches = Batches(column_of(stretch.place), run.kind, limits)
    version_ids = scope_of(run).version_ids(batches.column)
    after = primary_keys.from_text(stretch.after)
    until = primary_keys.from_text(stretch.until) or ()
    began(stretch)
    for tally in batches.between(version_ids, after, until):
        record(stretch, tally)
        watch(tally)
        if not _goes_on(run):
            return False
    ended_range(stretch)
    return True


def swept(run: RotationRun) -> None:
    """End a run whose sweep is done, or begin another sweep, where the census says that it must.

    Others write while a run goes on; a process that has not heard of a rotation yet does so under
    the old version, for `KEY_CACHE_SECONDS`.
    """
    with failing(run):
        left = sum(_left(run, column, run.sweep) for column in _columns(run))
        numbers = numbers_of(run)
        if not left:
            ended(run, RotationState.COMPLETED, moved=numbers.moved, failed=numbers.failed)
        elif run.sweep == 1 or numbers.moved_since(run.sweep - 1):
            _next_sweep(run)
        else:
            error = (
                f"{left:,} values stayed where they are in two sweeps, because others held locks "
                "on their rows all the time. Run it again."
            )
            ended(run, RotationState.FAILED, error, moved=numbers.moved, failed=numbers.failed)


@contextmanager
def failing(run: RotationRun) -> Iterator[None]:
    """End a run as failed when the block raises what no other range would be spared."""
    try:
        yield
    except Exception as error:
        with suppress(Exception):  # the database may be the trouble
            ended(run, RotationState.FAILED, said(error))
        raise


def _plan(run: RotationRun) -> None:
    for column in _columns(run):
        if run.sweep == 1:
            values = count_versions(column, scope_of(run).version_ids(column))
        else:  # what the last sweep is done with is not gone over again
            values = _left(run, column, run.sweep - 1)
        if values:
            ranges.plan(_place(run, column, values), column, run.sweep)
    all_runs().filter(pk=run.pk, sweep=run.sweep).update(is_planned=True, seen_at=timezone.now())


def _columns(run: RotationRun) -> list[Column]:
    return chosen_columns(run.only_fields, run.only_database)


def _place(run: RotationRun, column: Column, values: int) -> RotationPlace:
    using = configuration().database
    with transaction.atomic(using=using):
        ranges.lock_run(run.pk)
        place, _ = RotationPlace.objects.using(using).get_or_create(
            run=run,
            database=column.database,
            model=column.model._meta.label,
            field=column.field.name,
            defaults={"total": values},
        )
    return place


def _left(run: RotationRun, column: Column, sweep: int) -> int:
    """Count the values of a column that are still to be moved, after a sweep.

    What failed in it would fail again. The census does not see what is under the current version
    and does not belong there; of that, what was skipped is left.
    """
    scope = scope_of(run)
    left = count_versions(column, scope.left_in_the_end(column))
    met = _met(run, column, sweep)
    if met is None:
        return left
    left = max(left - met.failed, 0)
    return max(left, met.skipped) if scope.sees_only_by_looking(column) else left


def _met(run: RotationRun, column: Column, sweep: int) -> Numbers | None:
    """Return what was met in a column the last time that it was gone over."""
    place = run.places.using(configuration().database).filter(
        database=column.database, model=column.model._meta.label, field=column.field.name
    )
    numbers = numbers_of(run).of(place.values_list("pk", flat=True).first(), until=sweep)
    return next(iter(numbers.latest()), None)


def _next_sweep(run: RotationRun) -> None:
    which = all_runs().filter(pk=run.pk, sweep=run.sweep, is_planned=True)
    which.update(sweep=run.sweep + 1, is_planned=False)


def _goes_on(run: RotationRun) -> bool:
    """Say that somebody is at it; return whether the run is as it was read, and running."""
    all_runs().filter(pk=run.pk).update(seen_at=timezone.now())
    now = find_run(run)
    return is_open(now) and now.limits == run.limits
