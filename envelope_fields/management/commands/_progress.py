"""Long work on a terminal: a progress bar, and signals that leave a run that can go on."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import TracebackType
from typing import Any, Self

from django.core.management import CommandError
from django.db import connections

from envelope_fields.models import RotationRun, RotationState
from envelope_fields.rotation import find_run, pause

SECONDS_BETWEEN_LOOKS = 0.25


class NoBar:
    """Without a terminal."""

    @property
    def is_due(self) -> bool:
        """Whether to show something now; to know how far something is may take queries."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal alone."""

    def show(self, done: int, total: int) -> None:
        """Show that so many of so many values are done."""


class Bar(NoBar):
    """A bar on standard error, with the rate and the time that remains."""

    def __init__(self, title: str, tqdm: Any) -> None:
        tqdm.monitor_interval = 0  # no thread of its own, which would have to be forked
        self._bar = tqdm(desc=title, unit=" values", unit_scale=True, total=0)
        self._next = monotonic()

    @property
    def is_due(self) -> bool:
        return monotonic() >= self._next

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.n = done
        self._bar.refresh()
        self._next = monotonic() + SECONDS_BETWEEN_LOOKS


def progress_bar(title: str, *, wanted: bool) -> NoBar:
    """Return a bar where there is a terminal and tqdm (extra `progress`), else a null object."""
    if not wanted or not sys.stderr.isatty():
        return NoBar()
    try:
        from tqdm import tqdm
    except ImportError:
        return NoBar()
    return Bar(title, tqdm)


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
    """Pause a run that was interrupted, and return the error that says so.

    To be called when the KeyboardInterrupt is over: its traceback holds what was in the middle of
    a query, and SQLite lets no connection commit until that is gone.
    """
    connections.close_all()
    now = find_run(begun)
    paused = pause(now) if now.state == RotationState.RUNNING else now
    return CommandError(
        f"Stopped; the run {paused.pk} is paused. Run the same command again to go on."
    )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
