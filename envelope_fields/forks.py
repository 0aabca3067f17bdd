"""What is done first in a process that was forked: what it has of its parent is not its own."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

_functions: list[Callable[[], object]] = []


def in_child(function: Callable[[], object]) -> None:
    """Have `function` called in each process that is forked from now on; once or several times."""
    os.register_at_fork(after_in_child=function)
    _functions.append(function)


def cover_uwsgi() -> None:
    """Have uWSGI call them, too: it forks its workers as C does, and has a hook of its own."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None or getattr(uwsgi, "post_fork_hook", None) is _after_fork:
        return
    with suppress(Exception):  # where it is imported later, it takes the place of our hook
        import_module("uwsgidecorators")
    hook = getattr(uwsgi, "post_fork_hook", None)
    if hook is not None:
        _functions.append(hook)
    uwsgi.post_fork_hook = _after_fork


def _after_fork() -> None:
    for function in _functions:
        function()
