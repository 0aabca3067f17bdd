"""A progress bar, where there is a terminal and tqdm to draw it."""

from __future__ import annotations

import sys
from typing import Any, TextIO

try:
    from tqdm import tqdm
except ImportError:
    tqdm = None


class NoProgress:
    """Draws nothing."""

    def move_to(self, position: int) -> None:
        """Show how far it is."""

    def write(self, text: str, to: TextIO) -> None:
        """Write a line, out of the way of the bar."""
        to.write(text)

    def close(self) -> None:
        """Leave the terminal as it is."""


class Bar(NoProgress):
    """Draws a bar on standard error.

    Args:
        size: what to count up to, in bytes, or None where nobody knows.
    """

    def __init__(self, size: int | None) -> None:
        self._bar = tqdm(total=size, unit="B", unit_scale=True, unit_divisor=1024)

    def move_to(self, position: int) -> None:
        self._bar.update(position - self._bar.n)

    def write(self, text: str, to: TextIO) -> None:
        self._bar.clear()
        to.write(text)
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


def progress(size: int | None, **options: Any) -> NoProgress:
    """Return a bar, or what draws nothing: at verbosity 0, and where nobody looks."""
    seen = options.get("verbosity", 1) > 0 and sys.stderr.isatty()
    return Bar(size) if seen and tqdm is not None else NoProgress()
