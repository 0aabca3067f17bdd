"""Sweeps: a run goes over its tables again and again, until nothing is left that can be moved.

Others write while a run goes on; a process that has not heard of a rotation yet does so under the
old version, for `KEY_CACHE_SECONDS`. So the census says when a run is over, not the last row.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from envelope_fields.census import count_versions
from envelope_fields.census.columns import Column
from envelope_fields.conf import configuration
from envelope_fields.models import RotationPlace, RotationRun, RotationState
from envelope_fields.rotation import ranges
from envelope_fields.rotation.numbers import Numbers, RunNumbers, numbers_of
from envelope_fields.rotation.runs import all_runs, ended, failing
from envelope_fields.rotation.scope import Scope, chosen_columns, scope_of


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a run before its columns are counted: read once, however many these are.

    Attributes:
        scope: what the run moves.
        numbers: what was met in its places.
        places: the ids of these, by what they tell of.
    """

    scope: Scope
    numbers: RunNumbers
    places: dict[tuple[str, ...], int]

    @classmethod
    def of(cls, run: RotationRun) -> Known:
        rows = run.places.using(configuration().database).values_list(*_PLACE, "pk")
        return cls(scope_of(run), numbers_of(run), {row[:-1]: row[-1] for row in rows})

    def met(self, column: Column, sweep: int) -> Numbers | None:
        """Return what was met in a column the last time that it was gone over."""
        place = self.places.get(tuple(_where(column).values()))
        return next(iter(self.numbers.of(place, until=sweep).latest()), None)


def plan(run: RotationRun) -> None:
    """Cut what the sweep goes over into ranges; those that others have cut already stay."""
    known = Known.of(run)
    for column in _columns(run):
        if run.sweep == 1:
            values = count_versions(column, known.scope.version_ids(column))
        else:  # what the last sweep is done with is not gone over again
            values = _left(known, column, run.sweep - 1)
        if values:
            ranges.plan(_place(run, column, values), column, run.sweep)
    all_runs().filter(pk=run.pk, sweep=run.sweep).update(is_planned=True, seen_at=timezone.now())


def swept(run: RotationRun) -> None:
    """End a run whose sweep is done, or begin another sweep, where the census says that it must."""
    with failing(run):
        known = Known.of(run)
        left = sum(_left(known, column, run.sweep) for column in _columns(run))
        numbers = known.numbers
        if not left:
            ended(run, RotationState.COMPLETED, moved=numbers.moved, failed=numbers.failed)
        elif run.sweep == 1 or numbers.moved_since(run.sweep - 1):
            _next_sweep(run)
        else:
            error = (
                f"{left:,} values stayed where they are in two sweeps: others held locks on their "
                "rows all the time, or their key changed while they were written. Run it again."
            )
            ended(run, RotationState.FAILED, error, moved=numbers.moved, failed=numbers.failed)


def _columns(run: RotationRun) -> list[Column]:
    return chosen_columns(run.only_fields, run.only_database)


def _place(run: RotationRun, column: Column, values: int) -> RotationPlace:
    using = configuration().database
    with transaction.atomic(using=using):
        ranges.lock_run(run.pk)
        place, _ = RotationPlace.objects.using(using).get_or_create(
            run=run,
            **_where(column),
            defaults={"total": values},
        )
    return place


_PLACE = ("database", "schema", "model", "field")


def _where(column: Column) -> dict[str, str]:
    """Return what a place has of a column."""
    schema = column.relation.schema or ""
    names = (column.database, schema, column.model._meta.label, column.field.name)
    return dict(zip(_PLACE, names, strict=True))


def _left(known: Known, column: Column, sweep: int) -> int:
    """Count the values of a column that are still to be moved, after a sweep.

    What failed in it would fail again. The census does not see what is under the current version
    and does not belong there; of that, what was skipped is left.
    """
    left = count_versions(column, known.scope.left_in_the_end(column))
    met = known.met(column, sweep)
    if met is None:
        return left
    left = max(left - met.failed, 0)
    return max(left, met.skipped) if known.scope.sees_only_by_looking(column) else left


def _next_sweep(run: RotationRun) -> None:
    which = all_runs().filter(pk=run.pk, sweep=run.sweep, is_planned=True)
    which.update(sweep=run.sweep + 1, is_planned=False)
