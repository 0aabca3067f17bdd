"""Tasks: a run shared out, range by range, among processes of this machine or a queue's workers.

What a task does is a function of ids. One may be lost, or be done twice: a range that is done is
left, and one that was begun is gone through again, where it finds moved values moved.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from uuid import UUID

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.ranges import find_range, unfinished
from envelope_fields.jobs.runs import find_run
from envelope_fields.jobs.work import begun, finish, is_open, move_range
from envelope_fields.jobs.workers import process
from envelope_fields.models import RotationRange, RotationRun

SECONDS_BETWEEN_LOOKS = 0.5
_POOLS = 3  # how many may break before the run is given up


class WorkersLost(EnvelopeError):
    """Worker processes keep ending, for instance because the system has no memory left."""


def work_in_processes(
    run: RotationRun, workers: int, look: Callable[[RotationRun], object]
) -> RotationRun:
    """Work on a run in several processes until it is over, or is paused or cancelled.

    Args:
        workers: how many processes.
        look: called twice a second.

    Raises:
        WorkersLost: processes ended again and again; the run can be worked on again.
        Exception: what a process raised: the run cannot go on, and says so.
    """
    pools = _POOLS
    while is_open(run := begun(run)):
        chunks = list(unfinished(run))
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


def _share_out(chunks: Iterable[RotationRange], workers: int, look: Callable[[], object]) -> None:
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
    if not is_open(run) or unfinished(run).exists():
        return None
    finish(run)
    return run.pk if is_open(find_run(run.pk)) else None
