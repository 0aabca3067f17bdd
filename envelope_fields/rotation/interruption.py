"""Signals that end a process, put off where half of what belongs together is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM)

_Handler = Callable[[int, Any], Any]


@contextmanager
def put_off() -> Iterator[None]:
    """Have a handler of SIGINT or SIGTERM, which may raise, called when the block is over.

    Handlers run in the main thread, between any two of its steps; other threads are not disturbed.
    """
    came: list[tuple[int, Any]] = []
    handlers = _handlers()
    try:
        for number in handlers:
            signal.signal(number, lambda *given: came.append(given))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, frame in came:
            handlers[number](number, frame)


def _handlers() -> dict[int, _Handler]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {int(number): signal.getsignal(number) for number in _ENDING}
    return {number: handler for number, handler in found.items() if callable(handler)}
