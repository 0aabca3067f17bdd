"""A command that is interrupted, or politely ended, leaves a run that can go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import CommandError
from django.db import connections

from envelope_fields.models import RotationRun, RotationState
from envelope_fields.rotation import find_run, pause


@contextmanager
def ending_as_interrupts() -> Iterator[None]:
    """Have a SIGTERM raise KeyboardInterrupt, as a SIGINT does."""
    before = signal.getsignal(signal.SIGTERM)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def stopped(begun: RotationRun) -> CommandError:
    """Pause a run that was interrupted, and return what is to be said of it.

    To be called when the KeyboardInterrupt is over: its traceback holds what was in the middle of
    a query, and SQLite lets nobody commit until that is gone.
    """
    connections.close_all()
    now = find_run(begun)
    paused = pause(now) if now.state == RotationState.RUNNING else now
    return CommandError(
        f"Stopped; the run {paused.pk} is paused. Run the same command again to go on."
    )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
