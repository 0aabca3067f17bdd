"""Working on a run: sweep after sweep over its tables, until nothing is left that can be moved.

Any number of processes may work on a run at once, and any of them may die: a range that is done
twice is read twice, and moved once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from django.db import Error
from django.utils import timezone

from envelope_fields.census import count_versions
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError
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
from envelope_fields.rotation.moves import STOPPING
from envelope_fields.rotation.patience import reopened
from envelope_fields.rotation.progress import numbers_of
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


def move_range(stretch: RotationRange, watch: Watcher = _unwatched) -> None:
    """Move the values of a range, or those that are left of it when the run is paused.

    Raises:
        EnvelopeError, ImproperlyConfigured, Error: the run cannot go on, and says so.
    """
    run = find_run(stretch.place.run_id)
    limits = Limits(**run.limits)
    with failing(run), acting_as(principal_of_run(run)):
        for attempt in range(limits.tries):
            try:
                return _move(stretch, run, limits, watch)
            except Error:
                is_last = attempt == limits.tries - 1
                if is_last or not reopened(stretch.place.database, configuration().database):
                    raise


def _move(stretch: RotationRange, run: RotationRun, limits: Limits, watch: Watcher) -> None:
    batches = Batches(column_of(stretch.place), run.kind, limits)
    version_ids = scope_of(run).version_ids(batches.column)
    after = primary_keys.from_text(stretch.after)
    until = primary_keys.from_text(stretch.until) or ()
    began(stretch)
    for tally in batches.between(version_ids, after, until):
        record(stretch, tally)
        watch(tally)
        if not _still_running(run):
            return
    ended_range(stretch)


def swept(run: RotationRun) -> None:
    """End a run whose sweep is done, or begin another sweep, where the census says that it must.

    Others write while a run goes on; a process that has not heard of a rotation yet does so under
    the old version, for `KEY_CACHE_SECONDS`.
    """
    with failing(run):
        left = sum(_left(run).values())
        numbers = numbers_of(run)
        beyond_us = numbers.failed_of(run.sweep) + numbers.kept_of(run.sweep)
        if left <= beyond_us:
            ended(run, RotationState.COMPLETED, moved=numbers.moved, failed=numbers.failed)
        elif numbers.moved_of(run.sweep):
            _next_sweep(run)
        else:
            error = (
                f"{left - beyond_us:,} values stayed where they are, because others held locks on "
                "their rows all the time. Run it again."
            )
            ended(run, RotationState.FAILED, error, moved=numbers.moved, failed=numbers.failed)


@contextmanager
def failing(run: RotationRun) -> Iterator[None]:
    """End a run as failed when the block raises what no other range would be spared."""
    try:
        yield
    except (EnvelopeError, *STOPPING, Error) as error:
        with suppress(EnvelopeError, *STOPPING, Error):  # the database may be the trouble
            ended(run, RotationState.FAILED, f"{type(error).__name__}: {error}")
        raise


def _plan(run: RotationRun) -> None:
    left = _left(run)
    for column in chosen_columns(run.only_fields, run.only_database):
        values = left[str(column), column.database]
        if values:
            place, _ = RotationPlace.objects.using(configuration().database).get_or_create(
                run=run,
                database=column.database,
                model=column.model._meta.label,
                field=column.field.name,
                defaults={"total": values},
            )
            ranges.plan(place, column, run.sweep)
    all_runs().filter(pk=run.pk, sweep=run.sweep).update(is_planned=True, seen_at=timezone.now())


def _left(run: RotationRun) -> dict[tuple[str, str], int]:
    """Count the values that a run has to look at, by column and database."""
    scope = scope_of(run)
    return {
        (str(column), column.database): count_versions(column, scope.version_ids(column))
        for column in chosen_columns(run.only_fields, run.only_database)
    }


def _next_sweep(run: RotationRun) -> None:
    which = all_runs().filter(pk=run.pk, sweep=run.sweep, is_planned=True)
    which.update(sweep=run.sweep + 1, is_planned=False)


def _still_running(run: RotationRun) -> bool:
    now = timezone.now()
    return bool(all_runs().filter(pk=run.pk, state=RotationState.RUNNING).update(seen_at=now))
