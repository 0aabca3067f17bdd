"""Passes: a run goes over its columns again, until nothing remains that can be moved.

Others write while a run goes on; a process that has not heard of a rotation yet does so under the
old version, for `KEY_CACHE_SECONDS`. So the census says when a run is over, not the last row. In
each pass, the rows of a column are cut into ranges of primary keys, which are taken one by one.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice, pairwise
from uuid import UUID

from django.db import connections, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from envelope_fields.census.columns import Column, find_column
from envelope_fields.census.versions import KEYS_IN_A_QUERY
from envelope_fields.conf import configuration
from envelope_fields.jobs.job import Job, Key, key_as_text, key_from_text, scope_of
from envelope_fields.jobs.progress import Numbers, numbers_of
from envelope_fields.jobs.runs import all_runs, ended, failing, find_run
from envelope_fields.jobs.statements import statements
from envelope_fields.models import (
    RotationColumn,
    RotationKey,
    RotationRange,
    RotationRun,
    RotationState,
)

# Enough for progress to be seen and work to be shared, few enough to be listed.
RANGES_OF_A_COLUMN = 500
SMALLEST, LARGEST = 8_000, 1_000_000  # rows
_AT_ONCE = 100
_COLUMN = ("database", "schema", "model", "field")

ByKey = Counter[UUID | None]


class Pass:
    """One pass of a run: its scope, its columns and what was met in them are found out once.

    Args:
        run: the run.
    """

    def __init__(self, run: RotationRun) -> None:
        self.run = run
        self.number = run.pass_number
        self.scope = scope_of(run)
        self._columns: dict[int, Column] = {}
        self._jobs: dict[int, Job] = {}

    def is_of(self, run: RotationRun) -> bool:
        """Whether it is the pass that a run is at."""
        return (self.run.pk, self.number) == (run.pk, run.pass_number)

    def column(self, row: RotationColumn) -> Column:
        """Return the column of one of the run's rows.

        Raises:
            NoSuchField: the model or its field is not there any more, or the schema is not.
            Error: the database cannot be looked at.
        """
        if row.pk not in self._columns:
            self._columns[row.pk] = find_column(row.database, str(row), row.schema)
        return self._columns[row.pk]

    def job(self, row: RotationColumn) -> Job:
        """Return the job for the column of one of the run's rows, the same for all its ranges."""
        if row.pk not in self._jobs:
            self._jobs[row.pk] = self.scope.job(self.column(row))
        return self._jobs[row.pk]

    def plan(self, remaining: Mapping[Column, int] | None = None) -> None:
        """Cut what the pass goes over into ranges; those that another process has cut stay.

        Args:
            remaining: how many values each column still holds, where the pass before has counted.
        """
        found: ByKey = Counter()
        for column in self.scope.columns():
            if self.number == 1:
                by_key = self.scope.count(column)
                found += by_key
                values = by_key.total()
            elif remaining is not None:
                values = remaining.get(column, 0)
            else:  # what the last pass is done with is not gone over again
                values = self._remaining(column, self.number - 1)[0]
            if values:
                plan_ranges(self._row(column, values), column, self.number)
        if self.number == 1:
            _record_by_key(self.run, found, "total", "remaining")
        now = timezone.now()
        here = all_runs().filter(pk=self.run.pk, pass_number=self.number)
        here.update(is_planned=True, heartbeat_at=now)

    def finish(self) -> None:
        """End the run, or begin another pass, where the census says that it must.

        To be called on what is found out anew after the last range: keys may have been rotated.
        """
        found = {column: self._remaining(column, self.number) for column in self.scope.columns()}
        remaining = {column: values for column, (values, _) in found.items() if values}
        by_key = sum((each for _, each in found.values()), Counter())
        _record_by_key(self.run, by_key, "remaining")
        numbers, values = self.numbers, sum(remaining.values())
        if not values:
            ended(self.run, RotationState.COMPLETED, moved=numbers.moved, failed=numbers.failed)
        elif self.number == 1 or numbers.moved_since(self.number - 1):
            self._begin_next(remaining)
        else:
            error = (
                f"{values:,} values stayed where they are in two passes: others held locks on "
                "their rows all the time, or their key changed while they were written. Run it "
                "again."
            )
            ended(self.run, RotationState.FAILED, error, moved=numbers.moved, failed=numbers.failed)

    @cached_property
    def numbers(self) -> Numbers:
        """What was met in the ranges of the run."""
        return numbers_of(self.run)

    def _begin_next(self, remaining: Mapping[Column, int]) -> None:
        here = all_runs().filter(pk=self.run.pk, pass_number=self.number, is_planned=True)
        if here.update(pass_number=self.number + 1, is_planned=False):
            Pass(find_run(self.run)).plan(remaining)

    def _remaining(self, column: Column, after_pass: int) -> tuple[int, ByKey]:
        """Count the values of a column that are still to be moved, after a pass; and by key.

        What failed in it would fail again. The census does not see what is under the current
        version and does not belong there; of that, what was skipped remains.
        """
        by_key = self.scope.count_remaining(column)
        values = by_key.total()
        met = self.numbers.last_of(self._rows.get(_where(column)), until=after_pass)
        if met is None:
            return values, by_key
        values = max(values - met.failed, 0)
        if self.scope.sees_only_by_looking(column):
            values = max(values, met.skipped)
        return values, by_key

    @cached_property
    def _rows(self) -> dict[tuple[str, ...], int]:
        """The ids of the run's rows of columns, by where these are."""
        rows = self.run.columns.using(configuration().database).values_list(*_COLUMN, "pk")
        return {row[:-1]: row[-1] for row in rows}

    def _row(self, column: Column, values: int) -> RotationColumn:
        using = configuration().database
        with transaction.atomic(using=using):
            lock_run(self.run.pk)
            row, _ = RotationColumn.objects.using(using).get_or_create(
                run=self.run,
                **dict(zip(_COLUMN, _where(column), strict=True)),
                defaults={"total": values},
            )
        return row


def finish(run: RotationRun) -> None:
    """End a run whose pass is done, or begin another one."""
    with failing(run):
        Pass(run).finish()


def _where(column: Column) -> tuple[str, ...]:
    """Return what the row of a column has of it."""
    schema = column.relation.schema or ""
    return (column.database, schema, column.model._meta.label, column.field.name)


def _record_by_key(run: RotationRun, values: ByKey, *names: str) -> None:
    """Write how many values there are under each key, of a run about several."""
    if run.master_key_id is not None:
        return
    using = configuration().database
    rows = RotationKey.objects.using(using).filter(run=run.pk)
    rows.update(**dict.fromkeys(names, 0))
    changed = [
        RotationKey(pk=pk, run=run, master_key_id=key_id, **dict.fromkeys(names, values[key_id]))
        for pk, key_id in rows.values_list("pk", "master_key_id")
        if values[key_id]
    ]
    names_target = connections[using].features.supports_update_conflicts_with_target
    RotationKey.objects.using(using).bulk_create(
        changed,
        update_conflicts=True,
        update_fields=names,
        unique_fields=["pk"] if names_target else None,
        batch_size=KEYS_IN_A_QUERY,
    )


# Ranges


def plan_ranges(row: RotationColumn, column: Column, pass_number: int) -> None:
    """Cut the rows of a column into ranges, in the order of their primary keys.

    Each begins where the last one ends, also when it was another process that cut that one.
    """
    rows = min(max(row.total // RANGES_OF_A_COLUMN, SMALLEST), LARGEST)
    while True:
        number, after = _planned_so_far(row, pass_number)
        ends = islice(pairwise(_ends(column, after, rows)), _AT_ONCE)
        cut = [
            RotationRange(
                column=row, pass_number=pass_number, number=number + index,
                after=key_as_text(after), until=key_as_text(until),
            )
            for index, (after, until) in enumerate(ends)
        ]  # fmt: skip
        if not cut:
            return
        _add(cut)


def unfinished(run: RotationRun) -> Sequence[RotationRange]:
    """Return the ranges of a run's pass that are not done, those that are not claimed first."""
    return list(_open(run))


def are_unfinished(run: RotationRun) -> bool:
    """Whether ranges of a run's pass are not done."""
    return _open(run).exists()


def claim(run: RotationRun) -> RotationRange | None:
    """Take a range that is not done; None if there is no more.

    Those that are claimed come last: the process that claimed one may be dead, and if not, two
    that move the same rows lose nothing but time.
    """
    while (found := _open(run).first()) is not None:
        now = timezone.now()
        mine = _ranges().filter(pk=found.pk, claimed_at=found.claimed_at, done_at=None)
        if mine.update(claimed_at=now):
            found.claimed_at = now
            return found
    return None


def find_range(range_id: int) -> RotationRange | None:
    """Return a range with its column, if it is there."""
    return _ranges().select_related("column").filter(pk=range_id).first()


def lock_run(run_id: UUID) -> None:
    """Let others who plan the run wait until the transaction ends; write a heartbeat."""
    runs = RotationRun.objects.using(configuration().database)
    runs.filter(pk=run_id).update(heartbeat_at=timezone.now())


def _open(run: RotationRun) -> QuerySet[RotationRange]:
    which = Q(column__run=run.pk, pass_number=run.pass_number, done_at=None)
    order = F("claimed_at").asc(nulls_first=True)
    return _ranges().filter(which).order_by(order, "column", "number").select_related("column")


def _planned_so_far(row: RotationColumn, pass_number: int) -> tuple[int, Key | None]:
    """Return the number of the next range of a column, and the key that it begins behind."""
    last = _ranges().filter(column=row, pass_number=pass_number).order_by("number").last()
    return (0, None) if last is None else (last.number + 1, key_from_text(last.until))


def _add(cut: Sequence[RotationRange]) -> None:
    """Add ranges, unless another process has gone on cutting from the same key."""
    first = cut[0]
    with transaction.atomic(using=configuration().database):
        lock_run(first.column.run_id)
        others = _ranges().filter(
            column=first.column, pass_number=first.pass_number, number=first.number
        )
        if not others.exists():
            _ranges().bulk_create(cut)


def _ends(column: Column, after: Key | None, rows: int) -> Iterator[Key | None]:
    yield after
    ask = statements(column)
    while (after := ask.end_of_range(after, rows)) is not None:
        yield after


def _ranges() -> QuerySet[RotationRange]:
    return RotationRange.objects.using(configuration().database)
