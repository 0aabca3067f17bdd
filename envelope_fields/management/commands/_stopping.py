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
def stopped_by_signals(begun: RotationRun) -> Iterator[None]:
    """Pause the run when somebody interrupts or ends the command, so that it says so."""
    before = signal.getsignal(signal.SIGTERM)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        connections.close_all()  # one of them may be in the middle of a query
        paused = pause(begun) if find_run(begun).state == RotationState.RUNNING else begun
        raise CommandError(
            f"Stopped; the run {paused.pk} is paused. Run the same command again to go on."
        ) from None
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
