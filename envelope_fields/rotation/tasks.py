"""What a worker of a task queue is told, as functions of ids: the queue is somebody else's.

A task may be lost, or be done twice: a range that is done is left, and one that was begun is gone
through again, where it finds moved values moved.
"""

from __future__ import annotations

from uuid import UUID

from envelope_fields.conf import configuration
from envelope_fields.models import RotationRange
from envelope_fields.rotation import ranges
from envelope_fields.rotation.runs import find_run
from envelope_fields.rotation.sweeps import swept
from envelope_fields.rotation.working import begun, is_open, move_range


def begin(run_id: UUID) -> list[int]:
    """Begin a sweep of a run, or take it up again; return the ids of the ranges to be moved.

    Raises:
        EnvelopeError, ImproperlyConfigured, Error: the run cannot go on, and says so.
    """
    while is_open(run := begun(find_run(run_id))):
        unfinished = [stretch.pk for stretch in ranges.unfinished(run)]
        if unfinished:
            return unfinished
        swept(run)
    return []


def move(range_id: int) -> UUID | None:
    """Move the values of a range; return the id of its run if that is to be begun again.

    Raises:
        EnvelopeError, ImproperlyConfigured, Error: the run cannot go on, and says so.
    """
    rows = RotationRange.objects.using(configuration().database).select_related("place")
    stretch = rows.filter(pk=range_id).first()
    if stretch is None:
        return None
    run = find_run(stretch.place.run_id)
    if stretch.done_at is None:
        move_range(stretch)
        run = find_run(run.pk)
    if not is_open(run) or ranges.are_left(run):
        return None
    swept(run)
    return run.pk if is_open(find_run(run.pk)) else None
