"""Who works on runs that are started where nobody can wait: in the admin, and over the API.

One backend a file. A project names its backend in the setting `ROTATION_WORKER`.
"""

from __future__ import annotations

from contextlib import suppress

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils.module_loading import import_string

from envelope_fields.conf import SETTING, configuration
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import RotationRun
from envelope_fields.rotation.workers.base import RotationWorker


class NoWorker(EnvelopeError):
    """The settings name nobody who would work on a run."""

    def __init__(self) -> None:
        super().__init__(
            f'{SETTING}["ROTATION_WORKER"] names no worker, so a run that is started here would '
            "wait for ever. Name one, or use `python manage.py rewrap`."
        )


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
    try:
        backend: type[RotationWorker] = import_string(entry.backend)
        return backend(**entry.options)
    except (ImportError, TypeError) as error:
        raise ImproperlyConfigured(f'{SETTING}["ROTATION_WORKER"]: {error}') from error


def send(run: RotationRun) -> None:
    """Have the worker work on a run, once it is committed; errors as for `worker`."""
    sent_to = worker()
    transaction.on_commit(lambda: sent_to.begin(run.pk), using=configuration().database)


__all__ = ["NoWorker", "RotationWorker", "is_there", "register", "send", "worker"]
