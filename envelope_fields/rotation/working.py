"""Working on a run: sweep after sweep over its tables, until nothing is left that can be moved.

Any number of processes may work on a run at once, and any of them may die: a range that is done
twice is read twice, and moved once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from time import sleep

from django.db import Error
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.models import RotationRange, RotationRun, RotationState
from envelope_fields.policy import acting_as
from envelope_fields.rotation import primary_keys, ranges
from envelope_fields.rotation.batches import Batches, Tally
from envelope_fields.rotation.limits import Limits
from envelope_fields.rotation.patience import passes
from envelope_fields.rotation.recording import began, ended_range, moved, record
from envelope_fields.rotation.runs import (
    SEEN_EVERY,
    all_runs,
    failing,
    find_run,
    principal_of_run,
)
from envelope_fields.rotation.scope import column_of, scope_of
from envelope_fields.rotation.sweeps import plan, swept

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
            plan(now)
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
    batches = Batches(column_of(stretch.place), run.kind, limits, partial(moved, stretch))
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


def _goes_on(run: RotationRun) -> bool:
    """Say that somebody is at it; return whether the run is as it was read, and running."""
    mine, now = all_runs().filter(pk=run.pk), timezone.now()
    found = mine.values_list("state", "limits", "seen_at").first()
    state, limits, seen_at = found or (None, None, None)
    goes_on = state == RotationState.RUNNING and limits == run.limits
    # Most batches do without this commit. Somebody else's clock may be ahead.
    is_known = seen_at is not None and timedelta(0) <= now - seen_at < SEEN_EVERY
    if not (goes_on and is_known):
        mine.update(seen_at=now)
    return goes_on
