"""What is written down while a range is gone through: numbers, and the values that failed."""

from __future__ import annotations

from django.db.models import F, QuerySet
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.models import RotationFailure, RotationRange
from envelope_fields.rotation import primary_keys
from envelope_fields.rotation.batches import Tally
from envelope_fields.rotation.moves import Failed

# Of one range. All are counted; a list of a million would help nobody.
FAILURES_KEPT = 100


def began(stretch: RotationRange) -> None:
    """Begin a range, maybe after somebody who did not end it: what failed then fails again.

    Whoever began last tells what was met in it, so that nothing is counted twice; what others move
    meanwhile is moved all the same.
    """
    using = configuration().database
    stretch.claimed_at = timezone.now()
    _row(stretch).update(failed=0, kept=0, skipped=0, claimed_at=stretch.claimed_at)
    RotationFailure.objects.using(using).filter(range=stretch.pk).delete()


def moved(stretch: RotationRange, values: int) -> None:
    """Add values that were moved, in the transaction in which they are, whoever tells the rest."""
    _row(stretch).update(moved=F("moved") + values)


def record(stretch: RotationRange, tally: Tally) -> None:
    """Add what else a batch has met."""
    if tally.values == tally.moved:
        return
    is_mine = _mine(stretch).update(
        skipped=F("skipped") + tally.skipped,
        kept=F("kept") + tally.kept,
        failed=F("failed") + len(tally.failed),
    )
    if is_mine and tally.failed:
        failures = RotationFailure.objects.using(configuration().database)
        room = FAILURES_KEPT - failures.filter(range=stretch.pk).count()
        failures.bulk_create([_failure(stretch, each) for each in tally.failed[: max(room, 0)]])


def ended_range(stretch: RotationRange) -> None:
    """Say that all rows of a range were gone through."""
    _mine(stretch).update(done_at=timezone.now())


def _failure(stretch: RotationRange, failed: Failed) -> RotationFailure:
    return RotationFailure(
        range=stretch,
        row=primary_keys.shown(failed.stored.key),
        version_id=failed.stored.version_id.hex(),
        cause=failed.cause[:200],
        message=failed.message,
    )


def _mine(stretch: RotationRange) -> QuerySet[RotationRange]:
    return _row(stretch).filter(claimed_at=stretch.claimed_at)


def _row(stretch: RotationRange) -> QuerySet[RotationRange]:
    return RotationRange.objects.using(configuration().database).filter(pk=stretch.pk)
