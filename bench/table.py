"""A table printed line by line, as its numbers come."""

from __future__ import annotations

from collections.abc import Mapping


class Table:
    """Columns with their widths: those of words flush left, those of numbers flush right."""

    def __init__(self, words: Mapping[str, int], numbers: Mapping[str, int]) -> None:
        self.formats = [f"<{width}" for width in words.values()]
        self.formats += [f">{width}" for width in numbers.values()]
        self.row(*words, *numbers)
        print("-" * sum((*words.values(), *numbers.values())))

    def row(self, *cells: str) -> None:
        columns = zip(cells, self.formats, strict=False)  # a short row is one that has no numbers
        print("".join(format(cell, column) for cell, column in columns).rstrip(), flush=True)


def ratio(of: float, to: float) -> str:
    """Return a ratio as text, where there is one: a driver may take longer for text than bytes."""
    return f"{of / to:.2f}" if of > 0 < to else "–"
