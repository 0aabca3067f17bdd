"""What was met in a run's ranges, added up by place and sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from uuid import UUID

from django.db.models import Sum

from envelope_fields.conf import configuration
from envelope_fields.models import RotationRange, RotationRun

_COUNTED = ("moved", "skipped", "kept", "failed")


@dataclass(frozen=True, slots=True)
class Numbers:
    """The sums of one sweep over one place.

    Attributes:
        place: the id of the `RotationPlace`.
        sweep: which sweep.
        moved, skipped, kept, failed: as `Tally` has them.
    """

    place: int
    sweep: int
    moved: int
    skipped: int
    kept: int
    failed: int


class RunNumbers(list[Numbers]):
    """The sums of a run. What failed, fails in each sweep again; what is moved is moved once.

    A sweep goes only over the places that the one before has not done with.
    """

    @property
    def moved(self) -> int:
        return sum(each.moved for each in self)

    @property
    def skipped(self) -> int:
        return sum(each.skipped for each in self)

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.latest())

    @property
    def kept(self) -> int:
        return sum(each.kept for each in self.latest())

    def moved_since(self, sweep: int) -> int:
        return sum(each.moved for each in self if each.sweep >= sweep)

    def of(self, place: int | None, until: float = inf) -> RunNumbers:
        return RunNumbers(each for each in self if each.place == place and each.sweep <= until)

    def latest(self) -> list[Numbers]:
        """Return those of the last sweep over each place."""
        return list({each.place: each for each in sorted(self, key=_sweep)}.values())


def _sweep(numbers: Numbers) -> int:
    return numbers.sweep


def numbers_of(run: RotationRun) -> RunNumbers:
    """Return the sums of a run's ranges."""
    return numbers_of_runs([run.pk])


def numbers_of_runs(runs: Sequence[UUID]) -> RunNumbers:
    """Return the sums of the ranges of some runs, in one query."""
    rows = RotationRange.objects.using(configuration().database).filter(place__run__in=runs)
    sums = {name: Sum(name) for name in _COUNTED}
    found = rows.order_by().values("place", "sweep").annotate(**sums)
    return RunNumbers(Numbers(*row) for row in found.values_list("place", "sweep", *sums))
