"""The end of a process, however it was begun.

`atexit` is not asked where a child of `multiprocessing` or of billiard ends, nor where Celery's
prefork pool ends one of its processes.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable

_functions: list[Callable[[], None]] = []
_covered: set[tuple[int, str]] = set()


def call(function: Callable[[], None]) -> None:
    """Have `function` called at the ordinary end of this process, once or several times.

    In a child that is forked later, `cover` has to be called.
    """
    _functions.append(function)
    atexit.register(function)
    cover()


def cover() -> None:
    """See that the functions are called at the end of this process, if that is a child.

    Whatever begins processes forgets in the child what was to be done at the end of its parent;
    and it may have been imported only now.
    """
    for name, hook in _HOOKS.items():
        if (os.getpid(), name) not in _covered and name in sys.modules:
            _covered.add((os.getpid(), name))
            hook(name)


def _run(**_: object) -> None:
    for function in _functions:
        function()


def _finalize(module: str) -> None:
    # With a priority, or it is not called at the end.
    sys.modules[module].Finalize(None, _run, exitpriority=1)


def _connect(module: str) -> None:
    sys.modules[module].worker_process_shutdown.connect(
        _run, weak=False, dispatch_uid="envelope_fields.process_end"
    )


_HOOKS = {
    "multiprocessing.util": _finalize,
    "billiard.util": _finalize,
    "celery.signals": _connect,
}
