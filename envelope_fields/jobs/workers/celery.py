"""Celery: each range of a run is a task, on any number of machines (extra `celery`).

Tasks are acknowledged when they are done, so one whose worker is lost comes to another.
"""

from typing import Any
from uuid import UUID

from envelope_fields.jobs.tasks import begin_task, move_task
from envelope_fields.jobs.workers import RotationWorker

try:
    from celery import shared_task
except ImportError:
    raise ImportError(
        "CeleryWorker needs Celery, which the extra `celery` installs: "
        '`pip install "django-envelope-fields[celery]"`.'
    ) from None

_LATE: dict[str, Any] = {
    "acks_late": True,
    "reject_on_worker_lost": True,
    "ignore_result": True,
}


class CeleryWorker(RotationWorker):
    """Sends runs to the project's Celery workers.

    Args:
        queue: the queue to send to; None is the default one.
    """

    def __init__(self, queue: str | None = None) -> None:
        self._queue = queue

    def begin(self, run_id: UUID) -> None:
        begin_rotation.apply_async([str(run_id), self._queue], queue=self._queue)


@shared_task(name="envelope_fields.begin_rotation", **_LATE)
def begin_rotation(run_id: str, queue: str | None = None) -> None:
    """Cut a run into ranges, and send each as a task."""
    for range_id in begin_task(UUID(run_id)):
        move_range.apply_async([range_id, queue], queue=queue)


@shared_task(name="envelope_fields.move_range", **_LATE)
def move_range(range_id: int, queue: str | None = None) -> None:
    """Move the values of one range; the last one sees whether another pass is needed."""
    run_id = move_task(range_id)
    if run_id is not None:
        begin_rotation.apply_async([str(run_id), queue], queue=queue)
