"""Several processes on this machine that share the ranges of a run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from envelope_fields import own_process
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import RotationRange, RotationRun
from envelope_fields.rotation import ranges
from envelope_fields.rotation.sweeps import swept
from envelope_fields.rotation.working import begun, is_open, move_range

SECONDS_BETWEEN_LOOKS = 0.5
_LIVES = 3  # how many pools may break before somebody has to look


class WorkersLost(EnvelopeError):
    """Worker processes keep ending, for instance because the system has no memory left."""


def work_in_processes(
    run: RotationRun, workers: int, look: Callable[[RotationRun], object]
) -> RotationRun:
    """Work on a run in several processes until it is over, or somebody pauses or cancels it.

    Args:
        run: the run.
        workers: how many processes.
        look: called twice a second.

    Raises:
        WorkersLost: processes ended again and again; the run can be worked on again.
        Exception: what a process raised: the run cannot go on, and says so.
    """
    lives = _LIVES
    while is_open(run := begun(run)):
        unfinished = ranges.unfinished(run)
        if not unfinished:
            swept(run)
            continue
        try:
            _share_out(unfinished, workers, partial(look, run))
        except BrokenProcessPool as error:
            lives -= 1
            if not lives:
                raise WorkersLost(
                    "Worker processes ended before their work did. Look for what ended them, such "
                    f"as a lack of memory, and work on the run {run.pk} again."
                ) from error
    return run


def _share_out(unfinished: Any, workers: int, look: Callable[[], object]) -> None:
    pool = own_process.pool(workers)
    try:
        waiting: set[Future[None]] = {
            pool.submit(own_process.call, __name__, "move_in_child", stretch.pk, workers)
            for stretch in unfinished
        }
        while waiting:
            done, waiting = wait(waiting, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
            for each in done:
                each.result()
            look()
    except BaseException:
        # Not waited for: they end when the run does, and whoever interrupts us has yet to end it.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def move_in_child(range_id: int, workers: int) -> None:
    """Move the values of a range, as one of several workers."""
    rows = RotationRange.objects.using(configuration().database).select_related("place")
    move_range(rows.get(pk=range_id), workers=workers)
