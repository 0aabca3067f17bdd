"""Ranges of primary keys: how the rows of a place are shared out, and taken one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from envelope_fields.census.columns import Column
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

    Each begins where the last one ends, also when it was somebody else who cut that one.
    """
    rows = min(max(place.total // RANGES_OF_A_PLACE, SMALLEST), LARGEST)
    while True:
        number, after = _planned_so_far(place, sweep)
        ends = islice(pairwise(_ends(column, after, rows)), _AT_ONCE)
        cut = [
            RotationRange(
                place=place, sweep=sweep, number=number + index,
                after=primary_keys.as_text(after), until=primary_keys.as_text(until),
            )
            for index, (after, until) in enumerate(ends)
        ]  # fmt: skip
        if not cut:
            return
        _add(cut)


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


def _planned_so_far(place: RotationPlace, sweep: int) -> tuple[int, Key | None]:
    """Return the number of the next range of a place, and the key that it begins behind."""
    last = _ranges().filter(place=place, sweep=sweep).order_by("number").last()
    return (0, None) if last is None else (last.number + 1, primary_keys.from_text(last.until))


def _add(cut: Sequence[RotationRange]) -> None:
    """Add ranges, unless somebody else has gone on cutting from the same key."""
    first = cut[0]
    with transaction.atomic(using=configuration().database):
        lock_run(first.place.run_id)
        others = _ranges().filter(place=first.place, sweep=first.sweep, number=first.number)
        if not others.exists():
            _ranges().bulk_create(cut)


def lock_run(run_id: UUID) -> None:
    """Let others who plan the run wait until the transaction ends; say that somebody is at it."""
    runs = RotationRun.objects.using(configuration().database)
    runs.filter(pk=run_id).update(seen_at=timezone.now())


def _ends(column: Column, after: Key | None, rows: int) -> Iterator[Key | None]:
    yield after
    ask = statements(column)
    while (after := ask.end_of_range(after, rows)) is not None:
        yield after


def _ranges() -> QuerySet[RotationRange]:
    return RotationRange.objects.using(configuration().database)
