"""A process of its own on this machine, for projects that run no task queue."""

from __future__ import annotations

import os
import subprocess
import sys
from threading import Thread
from uuid import UUID

from django.conf import settings

from envelope_fields.rotation.workers.base import RotationWorker


class ProcessWorker(RotationWorker):
    """Runs `manage.py rewrap --run ID` beside the web server, and outlives the request.

    It ends with the machine, or where a service manager ends all processes of a service; whoever
    resumes the run has another one go on.

    Args:
        workers: how many processes share the work.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers

    def begin(self, run_id: UUID) -> None:
        process = subprocess.Popen(  # noqa: S603 - our own command, with an id
            [
                *(sys.executable, "-m", "django", "rewrap"),
                *("--run", str(run_id), "--workers", str(self._workers)),
            ],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE")
                or settings.SETTINGS_MODULE,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        Thread(target=process.wait, daemon=True).start()  # so that it leaves no zombie
