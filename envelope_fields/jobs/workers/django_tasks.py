"""Django's own tasks, or the package `django-tasks`: each range of a run is a task of a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django import VERSION

from envelope_fields.jobs.tasks import begin_task, move_task
from envelope_fields.jobs.workers import RotationWorker

if TYPE_CHECKING or VERSION >= (6,):
    from django.tasks import DEFAULT_TASK_BACKEND_ALIAS, task, task_backends
else:
    try:
        from django_tasks import DEFAULT_TASK_BACKEND_ALIAS, task, task_backends
    except ImportError:
        raise ImportError(
            "DjangoTasksWorker needs Django 6.0, or the package django-tasks in INSTALLED_APPS."
        ) from None


class DjangoTasksWorker(RotationWorker):
    """Sends runs to a backend of the setting `TASKS`.

    Args:
        backend: its name there.
    """

    def __init__(self, backend: str = DEFAULT_TASK_BACKEND_ALIAS) -> None:
        task_backends[backend]  # raises where there is none
        self._backend = backend

    def begin(self, run_id: UUID) -> None:
        begin_rotation.using(backend=self._backend).enqueue(str(run_id), self._backend)


@task
def begin_rotation(run_id: str, backend: str) -> None:
    """Cut a run into ranges, and send each as a task."""
    for range_id in begin_task(UUID(run_id)):
        move_range.using(backend=backend).enqueue(range_id, backend)


@task
def move_range(range_id: int, backend: str) -> None:
    """Move the values of one range; the last one sees whether another pass is needed."""
    run_id = move_task(range_id)
    if run_id is not None:
        begin_rotation.using(backend=backend).enqueue(str(run_id), backend)
