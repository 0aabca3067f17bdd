"""Values that are bound to a column of their row, beside such that are not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench import comparison, models
from bench.rounds import fastest
from bench.work import READS, WRITES, fill

COUNT = 1000
# Where the column comes after the value, it is noted when the object is complete.
MODELS = {"unbound": models.Unbound, "bound": models.Bound, "bound later": models.BoundLater}


def compare(rounds: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each kind of work, and the seconds of a value of each model."""
    values = [comparison.text(64, number) for number in range(COUNT)]
    for model in MODELS.values():
        fill(model, "default", values)
    for name, work in {**READS, **WRITES}.items():
        if name != "values_list":  # which knows no rows
            turns = {
                each: partial(work, model, "default", values) for each, model in MODELS.items()
            }
            yield name, fastest(turns, rounds)
