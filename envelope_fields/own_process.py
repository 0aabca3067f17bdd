"""Work in processes of its own.

They are forked, which takes no time; or, where other threads may hold locks that would be copied,
started afresh. Such a process imports this module before Django is set up, so it knows no models.
"""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_all_start_methods, get_context, parent_process
from typing import Any

import django
from django.conf import ENVIRONMENT_VARIABLE, settings
from django.db import connections


def pool(workers: int) -> ProcessPoolExecutor:
    """Return processes with the settings and databases of this one; `call` runs in them."""
    connections.close_all()  # each has connections of its own
    # Where databases are by now, which is not where the settings say while tests run.
    names = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    module = os.environ.get(ENVIRONMENT_VARIABLE) or settings.SETTINGS_MODULE
    return ProcessPoolExecutor(workers, get_context(_start_method()), _begin, (module, names))


def call(module: str, function: str, *arguments: Any) -> Any:
    """Call a function of a module, which is imported only now."""
    return getattr(import_module(module), function)(*arguments)


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
    """End this process when its parent is killed: it would wait for work, connected, for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
