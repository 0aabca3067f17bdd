"""How the story looks in a terminal: plain text, and headings in colour where there is any."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator

from django.core.management.color import color_style, no_style

WIDTH = 92
INDENT = "    "
BYTES_A_LINE = 24


def title(text: str) -> None:
    """Begin the story."""
    print(f"\n{_style().MIGRATE_HEADING(text)}\n{'=' * len(text)}")


def heading(number: int, text: str) -> None:
    """Begin a chapter."""
    print("\n\n" + _style().MIGRATE_HEADING(f"{number}. {text}"))


def chapter(number: int, told: Callable[..., None], *scene: object) -> None:
    """Tell a chapter. Its heading is the first line of its docstring."""
    heading(number, (told.__doc__ or "").rstrip("."))
    told(*scene)


def say(text: str) -> None:
    """Tell something, in lines that are not too long."""
    print("\n" + textwrap.fill(text, WIDTH, break_on_hyphens=False))


def show(text: str) -> None:
    """Show something as it is, set apart."""
    print("\n" + textwrap.indent(text.strip("\n"), INDENT))


def show_bytes(*parts: tuple[bytes, str]) -> None:
    """Show bytes in hexadecimal, each part with its meaning beside it."""
    show("\n".join(line for part, meaning in parts for line in _hex_lines(part, meaning)))


def quote(text: str) -> None:
    """Show a text that somebody else wrote, wrapped."""
    show(textwrap.fill(text, WIDTH - len(INDENT), break_on_hyphens=False))


def _hex_lines(part: bytes, meaning: str) -> Iterator[str]:
    for start in range(0, len(part), BYTES_A_LINE):
        digits = part[start : start + BYTES_A_LINE].hex()
        yield f"{digits.ljust(2 * BYTES_A_LINE)}  {meaning}".rstrip()
        meaning = ""


def _style():
    return no_style() if os.environ.get("NO_COLOR") else color_style()
