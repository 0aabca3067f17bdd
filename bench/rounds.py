"""Timing on a machine that also does other things."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf


def fastest(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return the shortest time of each candidate; in each round all take their turn.

    What disturbs a measurement only ever adds to it, hence the minimum; and a disturbance that
    lasts meets all candidates, hence the turns.
    """
    best = dict.fromkeys(candidates, inf)
    order = list(candidates)
    with without_garbage_collection():
        for _ in range(rounds):
            for name in order:
                best[name] = min(best[name], candidates[name]())
            order.reverse()
            gc.collect()
    return best


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Let Python look through no objects meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
