"""Processes on this machine: a worker for projects that run no task queue, and pools.

Those of a pool are forked, which takes no time; or, where other threads may hold locks that would
be copied, started afresh. They import this module before Django is set up, so it knows no models.
"""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_all_start_methods, get_context, parent_process
from typing import Any
from uuid import UUID

import django
from django.conf import ENVIRONMENT_VARIABLE, settings
from django.db import connections

from envelope_fields.jobs.workers import RotationWorker

WORKERS_OF_A_PROCESSOR = 4  # they wait for databases, too


class ProcessWorker(RotationWorker):
    """Runs `manage.py rewrap --run ID` beside the web server, and outlives the request.

    It ends with the machine, or where a service manager ends all processes of a service; to resume
    the run has another one go on.

    Args:
        workers: how many processes share the work.
    """

    def __init__(self, workers: int = 1) -> None:
        refuse_workers(workers)  # nothing reads what the command would say of it
        self._workers = workers

    def begin(self, run_id: UUID) -> None:
        process = subprocess.Popen(  # noqa: S603 - our own command, with an id
            [
                *(sys.executable, "-m", "django", "rewrap"),
                *("--run", str(run_id), "--workers", str(self._workers)),
            ],
            env={
                **os.environ,
                ENVIRONMENT_VARIABLE: _settings_module(),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        threading.Thread(target=process.wait, daemon=True).start()  # so that it leaves no zombie


def refuse_workers(workers: object) -> None:
    """Raise `ValueError` unless so many processes may share the work on this machine."""
    most = WORKERS_OF_A_PROCESSOR * (os.cpu_count() or 1)
    if not (isinstance(workers, int) and 1 <= workers <= most):
        raise ValueError(
            f"workers must be a number from 1 to {most}, {WORKERS_OF_A_PROCESSOR} for each "
            f"processor of this machine, not {workers!r}: each is a process with a connection to "
            "each database"
        )


def pool(workers: int) -> ProcessPoolExecutor:
    """Return processes with the settings and databases of this one; `call` runs in them."""
    connections.close_all()  # each has connections of its own
    # Where databases are by now, which is not where the settings say while tests run.
    names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    begin_with = (_settings_module(), names)
    return ProcessPoolExecutor(workers, get_context(_start_method()), _begin, begin_with)


def call(module: str, function: str, *arguments: Any) -> Any:
    """Call a function of a module, which is imported only now."""
    return getattr(import_module(module), function)(*arguments)


def _settings_module() -> str:
    return os.environ.get(ENVIRONMENT_VARIABLE) or str(settings.SETTINGS_MODULE)


def _start_method() -> str:
    alone = threading.active_count() == 1
    return "fork" if alone and "fork" in get_all_start_methods() else "spawn"


def _begin(settings_module: str, names: dict[str, Any]) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent decides what becomes of the work.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ[ENVIRONMENT_VARIABLE] = settings_module
    django.setup()
    for alias, name in names.items():
        connections[alias].settings_dict["NAME"] = name


def _end_with_parent() -> None:
    """End this process when its parent is killed: it would wait for work, connected, endlessly."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
