"""The work loop: pass after pass over the columns of a run, until nothing remains to be done.

Any number of processes may work on a run at once, and any of them may die: a range that is gone
through twice is read twice, and its values are moved once.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.db import Error
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.databases.errors import passes
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.batches import Batches
from envelope_fields.jobs.job import BatchResult, key_from_text
from envelope_fields.jobs.limits import Limits, rest_before_retry, retry
from envelope_fields.jobs.passes import Pass, are_unfinished, claim, find_range, finish, unfinished
from envelope_fields.jobs.progress import begin_range, end_range, record_met, record_moved
from envelope_fields.jobs.runs import HEARTBEAT_EVERY, all_runs, failing, find_run, principal_of_run
from envelope_fields.jobs.workers import process
from envelope_fields.models import RotationRange, RotationRun, RotationState
from envelope_fields.policy import acting_as

Watcher = Callable[[BatchResult], None]

SECONDS_BETWEEN_LOOKS = 0.5
_POOLS = 3  # how many may break before the run is given up


class WorkersLost(EnvelopeError):
    """Worker processes keep ending, for instance because the system has no memory left."""


def unwatched(result: BatchResult) -> None:
    """Watch nothing."""


def work(run: RotationRun, watch: Watcher = unwatched) -> RotationRun:
    """Work on a run in this process until it is over, or is paused or cancelled.

    Args:
        run: the run.
        watch: called after each batch.

    Raises:
        EnvelopeError, ImproperlyConfigured, Error: the run cannot go on, and says so.
    """
    current = None
    while True:
        run, planned = _begun(run)
        current = planned or current
        if not is_open(run):
            return run
        chunk = claim(run)
        if chunk is None:
            finish(run)
            continue
        if current is None or not current.is_of(run):
            with failing(run):
                current = Pass(run)
        move_range(chunk, watch, current=current)


def begun(run: RotationRun) -> RotationRun:
    """Return a run as it is now, with the ranges of its pass; begin it if it has not begun."""
    return _begun(run)[0]


def _begun(run: RotationRun) -> tuple[RotationRun, Pass | None]:
    """Return a run as it is now, and its pass where that was planned here."""
    which = all_runs().filter(pk=run.pk, state=RotationState.PENDING)
    which.update(state=RotationState.RUNNING, resumed_at=timezone.now())
    now = find_run(run)
    if not is_open(now) or now.is_planned:
        return now, None
    with failing(now):
        planned = Pass(now)
        planned.plan()
    return find_run(run), planned


def is_open(run: RotationRun) -> bool:
    """Whether there is something to do on a run, as it was read."""
    return run.state == RotationState.RUNNING


def move_range(
    chunk: RotationRange,
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
    while not ended and is_open(run := find_run(chunk.column.run_id)):
        limits = Limits(**run.limits).shared_by(workers)
        with failing(run), acting_as(principal_of_run(run)):
            current = current or Pass(run)
            ended = _moved_with_retries(chunk, run, current, limits, watch)


def _moved_with_retries(
    chunk: RotationRange, run: RotationRun, current: Pass, limits: Limits, watch: Watcher
) -> bool:
    def rest(error: Error, number: int) -> None:
        if not passes(error, chunk.column.database, configuration().database):
            raise error
        rest_before_retry(number, 0.1)

    return retry(partial(_moved, chunk, run, current, limits, watch), limits.tries, rest)


def _moved(
    chunk: RotationRange, run: RotationRun, current: Pass, limits: Limits, watch: Watcher
) -> bool:
    """Go through a range; return whether to the end, or the run has changed meanwhile."""
    column = current.column(chunk.column)
    batches = Batches(column, current.job(chunk.column), limits, partial(record_moved, chunk))
    version_ids = current.scope.version_ids(column)
    begin_range(chunk)
    for result in batches.between(
        version_ids, key_from_text(chunk.after), key_from_text(chunk.until) or ()
    ):
        record_met(chunk, result)
        watch(result)
        if not _goes_on(run):
            return False
    end_range(chunk)
    return True


def _goes_on(run: RotationRun) -> bool:
    """Write a heartbeat where it is due; return whether the run is as it was read, and running."""
    mine, now = all_runs().filter(pk=run.pk), timezone.now()
    found = mine.values_list("state", "limits", "heartbeat_at").first()
    state, limits, heartbeat_at = found or (None, None, None)
    goes_on = state == RotationState.RUNNING and limits == run.limits
    # Most batches do without this commit. Another machine's clock may be ahead.
    is_known = heartbeat_at is not None and timedelta(0) <= now - heartbeat_at < HEARTBEAT_EVERY
    if not (goes_on and is_known):
        mine.update(heartbeat_at=now)
    return goes_on


# Several processes on this machine


def work_in_processes(
    run: RotationRun, workers: int, look: Callable[[RotationRun], object]
) -> RotationRun:
    """Work on a run in several processes until it is over, or is paused or cancelled.

    Args:
        run: the run.
        workers: how many processes.
        look: called twice a second.

    Raises:
        WorkersLost: processes ended again and again; the run can be worked on again.
        Exception: what a process raised: the run cannot go on, and says so.
    """
    pools = _POOLS
    while is_open(run := begun(run)):
        chunks = unfinished(run)
        if not chunks:
            finish(run)
            continue
        try:
            _share_out(chunks, workers, partial(look, run))
        except BrokenProcessPool as error:
            pools -= 1
            if not pools:
                raise WorkersLost(
                    "Worker processes ended before their work did. Look for what ended them, such "
                    f"as a lack of memory, and work on the run {run.pk} again."
                ) from error
    return run


def _share_out(chunks: Sequence[RotationRange], workers: int, look: Callable[[], object]) -> None:
    pool = process.pool(workers)
    try:
        waiting: set[Future[None]] = {
            pool.submit(process.call, __name__, "move_in_child", chunk.pk, workers)
            for chunk in chunks
        }
        while waiting:
            done, waiting = wait(waiting, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
            for each in done:
                each.result()
            look()
    except BaseException:
        # Not waited for: they end when the run does, and what interrupts us has yet to end it.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def move_in_child(range_id: int, workers: int) -> None:
    """Do the job of a run in a range, as one of several workers."""
    chunk = find_range(range_id)
    if chunk is not None:
        move_range(chunk, workers=workers)


# Tasks of a queue, as functions of ids. A task may be lost, or be done twice: a range that is done
# is left, and one that was begun is gone through again, where it finds moved values moved.


def begin_task(run_id: UUID) -> list[int]:
    """Begin a pass of a run, or take it up again; return the ids of the ranges to be moved.

    Raises:
        EnvelopeError, ImproperlyConfigured, Error: the run cannot go on, and says so.
    """
    while is_open(run := begun(find_run(run_id))):
        chunks = [chunk.pk for chunk in unfinished(run)]
        if chunks:
            return chunks
        finish(run)
    return []


def move_task(range_id: int) -> UUID | None:
    """Do the job of a run in a range; return the id of its run if that is to be begun again.

    Raises:
        EnvelopeError, ImproperlyConfigured, Error: the run cannot go on, and says so.
    """
    chunk = find_range(range_id)
    if chunk is None:
        return None
    run = find_run(chunk.column.run_id)
    if chunk.done_at is None:
        move_range(chunk)
        run = find_run(run.pk)
    if not is_open(run) or are_unfinished(run):
        return None
    finish(run)
    return run.pk if is_open(find_run(run.pk)) else None
