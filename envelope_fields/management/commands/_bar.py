"""A progress bar, where there is a terminal and tqdm to draw it (extra `progress`)."""

from __future__ import annotations

import sys
from time import monotonic
from types import TracebackType
from typing import Any, Self

SECONDS_BETWEEN_LOOKS = 0.25


class NoBar:
    """Where nobody looks."""

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
    """A bar on standard error, with the rate and the time left."""

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
    """Return a bar, or what shows nothing."""
    if not wanted or not sys.stderr.isatty():
        return NoBar()
    try:
        from tqdm import tqdm
    except ImportError:
        return NoBar()
    return Bar(title, tqdm)
