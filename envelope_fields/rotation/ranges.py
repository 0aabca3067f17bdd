"""Ranges of primary keys: how the rows of a place are shared out, and taken one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from envelope_fields.columns import Column
from envelope_fields.conf import configuration
from envelope_fields.models import RotationPlace, RotationRange, RotationRun
from envelope_fields.rotation import primary_keys
from envelope_fields.rotation.statements import Key, statements

# Enough for progress to be seen and work to be shared, few enough to be listed.
RANGES_OF_A_PLACE = 500
SMALLEST, LARGEST = 8_000, 1_000_000  # rows
_AT_ONCE = 100


def plan(place: RotationPlace, column: Column, sweep: int) -> None:
    """Cut the rows of a place into ranges, in the order of their primary keys.

    Doing it again leaves the ranges that are there.
    """
    rows = min(max(place.total // RANGES_OF_A_PLACE, SMALLEST), LARGEST)
    ends = pairwise(_ends(column, rows))
    number = 0
    while portion := list(islice(ends, _AT_ONCE)):
        _ranges().bulk_create(
            [
                RotationRange(
                    place=place, sweep=sweep, number=number + index,
                    after=primary_keys.as_text(after), until=primary_keys.as_text(until),
                )
                for index, (after, until) in enumerate(portion)
            ],
            ignore_conflicts=True,
        )  # fmt: skip
        number += len(portion)


def unfinished(run: RotationRun) -> Sequence[RotationRange]:
    """Return the ranges of a run's sweep that are not done, those that nobody has taken first."""
    return list(_open(run))


def are_left(run: RotationRun) -> bool:
    """Whether ranges of a run's sweep are not done."""
    return _open(run).exists()


def claim(run: RotationRun) -> RotationRange | None:
    """Take a range that is not done; None if there is no more.

    Those that somebody has taken come last: whoever has may be dead, and if not, two that move the
    same rows lose nothing but time.
    """
    while (found := _open(run).first()) is not None:
        now = timezone.now()
        mine = _ranges().filter(pk=found.pk, claimed_at=found.claimed_at, done_at=None)
        if mine.update(claimed_at=now):
            found.claimed_at = now
            return found
    return None


def _open(run: RotationRun) -> QuerySet[RotationRange]:
    which = Q(place__run=run.pk, sweep=run.sweep, done_at=None)
    order = F("claimed_at").asc(nulls_first=True)
    return _ranges().filter(which).order_by(order, "place", "number").select_related("place")


def _ends(column: Column, rows: int) -> Iterator[Key | None]:
    yield None
    ask, after = statements(column), None
    while (after := ask.end_of_range(after, rows)) is not None:
        yield after


def _ranges() -> QuerySet[RotationRange]:
    return RotationRange.objects.using(configuration().database)
