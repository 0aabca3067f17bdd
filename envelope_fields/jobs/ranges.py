"""Ranges: what a pass over a column is cut into, taken one by one, and what was met in each.

A range is the rows between two primary keys, and a row of its own in the keys' database. Which
values failed is recorded with it, and nothing of the values themselves.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice, pairwise
from math import inf
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from envelope_fields import databases
from envelope_fields.census.columns import Column
from envelope_fields.conf import configuration
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.job import BatchResult, Failed, Key, Stored, displayed_key
from envelope_fields.jobs.statements import statements
from envelope_fields.models import RotationColumn, RotationFailure, RotationRange, RotationRun

# Enough for progress to be seen and work to be shared, few enough to be listed.
RANGES_OF_A_COLUMN = 500
SMALLEST, LARGEST = 8_000, 1_000_000  # rows
_AT_ONCE = 100
# Of one range. All are counted; a list of a million would be of no help.
FAILURES_KEPT = 100


# Cutting


def cut(row: RotationColumn, column: Column, pass_number: int) -> None:
    """Cut the rows of a column into ranges, in the order of their primary keys.

    Each begins where the last one ends, also when it was another process that cut that one.
    """
    rows = min(max(row.total // RANGES_OF_A_COLUMN, SMALLEST), LARGEST)
    while True:
        number, after = _cut_so_far(row, pass_number)
        ends = islice(pairwise(_ends(column, after, rows)), _AT_ONCE)
        found = [
            RotationRange(
                column=row, pass_number=pass_number, number=number + index,
                after=key_as_text(after), until=key_as_text(until),
            )
            for index, (after, until) in enumerate(ends)
        ]  # fmt: skip
        if not found:
            return
        _add(found)


def _cut_so_far(row: RotationColumn, pass_number: int) -> tuple[int, Key | None]:
    """Return the number of the next range of a column, and the key that it begins behind."""
    last = _ranges().filter(column=row, pass_number=pass_number).order_by("number").last()
    return (0, None) if last is None else (last.number + 1, key_from_text(last.until))


def _ends(column: Column, after: Key | None, rows: int) -> Iterator[Key | None]:
    yield after
    ask = statements(column)
    while (after := ask.end_of_range(after, rows)) is not None:
        yield after


def _add(found: Sequence[RotationRange]) -> None:
    """Add ranges, unless another process has gone on cutting from the same key."""
    first = found[0]
    with transaction.atomic(using=configuration().database):
        lock_run(first.column.run_id)
        others = _ranges().filter(
            column=first.column, pass_number=first.pass_number, number=first.number
        )
        if not others.exists():
            _ranges().bulk_create(found)


def lock_run(run_id: UUID) -> None:
    """Let others who plan the run wait until the transaction ends; write a heartbeat."""
    runs = RotationRun.objects.using(configuration().database)
    runs.filter(pk=run_id).update(heartbeat_at=databases.now())


# Taking


def unfinished(run: RotationRun) -> QuerySet[RotationRange]:
    """Return the ranges of a run's pass that are not done, those that are not claimed first."""
    which = Q(column__run=run.pk, pass_number=run.pass_number, done_at=None)
    order = F("claimed_at").asc(nulls_first=True)
    return _ranges().filter(which).order_by(order, "column", "number").select_related("column")


def claim(run: RotationRun) -> RotationRange | None:
    """Take a range that is not done; None if there is no more.

    Those that are claimed come last: the process that claimed one may be dead, and if not, two
    that move the same rows lose nothing but time.
    """
    while (found := unfinished(run).first()) is not None:
        mine, found.claimed_at = _mine(found).filter(done_at=None), timezone.now()
        if mine.update(claimed_at=found.claimed_at):
            return found
    return None


def find_range(range_id: int) -> RotationRange | None:
    """Return a range with its column, if it is there."""
    return _ranges().select_related("column").filter(pk=range_id).first()


def bounds(chunk: RotationRange) -> tuple[Key | None, Key]:
    """Return the key that a range begins behind, None for the first row, and that it ends with."""
    return key_from_text(chunk.after), key_from_text(chunk.until) or ()


# Recording


def begin_range(chunk: RotationRange) -> None:
    """Begin a range, maybe after a process that did not end it: what failed then fails again.

    The process that began last records what was met in it, so that nothing is counted twice; what
    others move meanwhile is moved all the same.
    """
    chunk.claimed_at = timezone.now()
    _ranges().filter(pk=chunk.pk).update(failed=0, kept=0, skipped=0, claimed_at=chunk.claimed_at)
    failures_of(Q(range=chunk.pk)).delete()


def record_moved(chunk: RotationRange, values: int) -> None:
    """Add values that were moved, in the transaction in which they are, by any process."""
    _ranges().filter(pk=chunk.pk).update(moved=F("moved") + values)


def record_met(chunk: RotationRange, result: BatchResult) -> None:
    """Add what else a batch has met."""
    if result.values == result.moved:
        return
    is_mine = _mine(chunk).update(
        skipped=F("skipped") + result.skipped,
        kept=F("kept") + result.kept,
        failed=F("failed") + len(result.failed),
    )
    if is_mine and result.failed:
        recorded = failures_of(Q(range=chunk.pk))
        room = max(FAILURES_KEPT - recorded.count(), 0)
        recorded.bulk_create(_failure(chunk, each) for each in result.failed[:room])


def end_range(chunk: RotationRange) -> None:
    """Say that all rows of a range were gone through."""
    _mine(chunk).update(done_at=timezone.now())


def failures_of(which: Q) -> QuerySet[RotationFailure]:
    """Return the failures that were recorded and match."""
    return RotationFailure.objects.using(configuration().database).filter(which)


def _failure(chunk: RotationRange, failed: Failed) -> RotationFailure:
    return RotationFailure(
        range=chunk,
        row=displayed_key(failed.stored.key),
        version_id=_version_id(failed.stored),
        cause=failed.cause[:200],
        message=failed.message,
    )


def _version_id(stored: Stored) -> str:
    """Return the key version of an envelope; what begins otherwise is a value, and not shown."""
    return stored.version_id.hex() if stored.head.startswith(layout.FORMAT_VERSION) else ""


def _mine(chunk: RotationRange) -> QuerySet[RotationRange]:
    return _ranges().filter(pk=chunk.pk, claimed_at=chunk.claimed_at)


def _ranges() -> QuerySet[RotationRange]:
    return RotationRange.objects.using(configuration().database)


# Adding up


class Met(NamedTuple):
    """What was met in one pass over one column; the numbers are those of `BatchResult`."""

    column: int  # the id of the `RotationColumn`
    number: int  # which pass
    moved: int
    skipped: int
    kept: int
    failed: int


class Sums(list[Met]):
    """What was met in a run. What failed, fails in each pass again; what is moved is moved once.

    A pass goes only over the columns that the one before has not done with.
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
    def values(self) -> int:
        """How many values had their turn."""
        return self.moved + self.skipped + self.failed + sum(each.kept for each in self.latest())

    def latest(self, until: float = inf) -> list[Met]:
        """Return those of the last pass over each column, up to some pass."""
        by_pass = sorted(each for each in self if each.number <= until)
        return list({each.column: each for each in by_pass}.values())


def sums_of(runs: Iterable[UUID]) -> Sums:
    """Return what was met in the ranges of some runs, in one query."""
    names = Met._fields[2:]
    found = _ranges().filter(column__run__in=list(runs)).order_by().values("column", "pass_number")
    sums = found.annotate(**{name: Sum(name) for name in names})
    return Sums(map(Met._make, sums.values_list("column", "pass_number", *names)))


# Primary keys as text, with which ranges begin and end.

_KINDS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "uuid": (UUID, str, UUID),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "decimal": (Decimal, str, Decimal),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),  # before date: it is one
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "days": (
        timedelta,
        lambda item: f"{item.days} {item.seconds} {item.microseconds}",
        lambda text: timedelta(*map(int, text.split())),
    ),
}


def key_as_text(key: Key | None) -> str:
    """Return a key as text from which `key_from_text` makes the same key; empty for None.

    Raises:
        TypeError: the driver has a type for it that is not known here.
    """
    return "" if key is None else json.dumps([_plain(item) for item in key])


def key_from_text(text: str) -> Key | None:
    """Return the key that `key_as_text` made the text of; `EnvelopeError` of another text."""
    try:
        found = json.loads(text) if text else None
        if not isinstance(found, list | None):
            raise TypeError("not a list")
        return None if found is None else tuple(map(_item, found))
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise EnvelopeError(
            "A range of a run does not say where it begins and ends: it was changed in the "
            "database. Cancel the run, and start another one."
        ) from error


def _plain(item: Any) -> Any:
    if item is None or isinstance(item, bool | int | float | str):
        return item
    if isinstance(item, memoryview):
        item = bytes(item)
    for name, (kind, write, _) in _KINDS.items():
        if isinstance(item, kind):
            return {name: write(item)}
    raise TypeError(f"a primary key of {type(item).__name__} cannot be written down")


def _item(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return plain
    ((name, text),) = plain.items()
    return _KINDS[name][2](text)
