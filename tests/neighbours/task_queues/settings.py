from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import ENVELOPE_FIELDS, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks", "tests.neighbours.task_queues"]
TASKS = {"default": {"BACKEND": "django_tasks.backends.immediate.ImmediateBackend"}}
ENVELOPE_FIELDS = {
    **ENVELOPE_FIELDS,
    "ROTATION_WORKER": {"BACKEND": "envelope_fields.jobs.workers.django_tasks.DjangoTasksWorker"},
}
