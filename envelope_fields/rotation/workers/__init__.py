"""Who works on runs that are started where nobody can wait: in the admin, and over the API.

One backend a file. A project names its backend in the setting `ROTATION_WORKER`.
"""

from __future__ import annotations

import logging
from contextlib import suppress

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils.module_loading import import_string

from envelope_fields.conf import SETTING, configuration
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import RotationRun
from envelope_fields.rotation.runs import find_run, never_begun
from envelope_fields.rotation.workers.base import RotationWorker

logger = logging.getLogger("envelope_fields.rotation")


class NoWorker(EnvelopeError):
    """The settings name no worker for a run."""

    def __init__(self) -> None:
        super().__init__(
            f'{SETTING}["ROTATION_WORKER"] names no worker, so a run that is started here would '
            "never be worked on. Name one, or use `python manage.py rewrap`."
        )


class WorkerUnreachable(EnvelopeError):
    """The worker that the settings name could not be told of a run.

    Attributes:
        run: the run, as it is now.
        cause: the class of the error.
    """

    def __init__(self, run: RotationRun, cause: str) -> None:
        super().__init__(
            f"The worker could not be told of the rotation {run.pk} ({cause}), which is "
            f"{run.state} now. See that the worker's queue answers, and try again."
        )
        self.run = run
        self.cause = cause


def register() -> None:
    """Import the worker that the settings name: task queues know the tasks that are imported."""
    with suppress(ImportError, ImproperlyConfigured):  # checks tell of them
        entry = configuration().rotation_worker
        if entry is not None:
            import_string(entry.backend)


def is_there() -> bool:
    """Whether the settings name a worker."""
    return configuration().rotation_worker is not None


def worker() -> RotationWorker:
    """Return the worker that the settings name.

    Raises:
        NoWorker: they name none.
        ImproperlyConfigured: it cannot be made.
    """
    entry = configuration().rotation_worker
    if entry is None:
        raise NoWorker
    return entry.make(RotationWorker)  # type: ignore[type-abstract]


def send(run: RotationRun) -> None:
    """Have the worker work on a run, once it is committed.

    Raises:
        NoWorker, ImproperlyConfigured: as `worker` does.
        WorkerUnreachable: it could not be told. The run is failed if nobody has begun it, so that
            none waits for ever; else it is as it was. Raised by the commit, where there is one.
    """
    sent_to = worker()
    transaction.on_commit(lambda: _tell(sent_to, run), using=configuration().database)


def _tell(told: RotationWorker, run: RotationRun) -> None:
    try:
        told.begin(run.pk)
    except Exception as error:
        logger.exception("The worker could not be told of the rotation %s", run.pk)
        if find_run(run).state != run.state:
            return  # it was told, and worked at once: what went wrong is in the run
        cause = type(error).__name__
        failed = never_begun(run, f"The worker could not be told of it: {cause}.")
        raise WorkerUnreachable(failed, cause) from error


__all__ = [
    "NoWorker",
    "RotationWorker",
    "WorkerUnreachable",
    "is_there",
    "register",
    "send",
    "worker",
]
