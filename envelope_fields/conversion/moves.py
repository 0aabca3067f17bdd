"""Runs over a column that moves: filled, compared, emptied, each recorded and taken up again."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connections
from django.db.models import QuerySet

from envelope_fields.census.columns import CensusFailed, Column
from envelope_fields.conf import configuration
from envelope_fields.conversion.column_phases import change_phase, moving_field, phase_row
from envelope_fields.conversion.moving import Compare, Empty, Fill
from envelope_fields.conversion.phases import keys_of
from envelope_fields.databases import Kind, clock, database
from envelope_fields.databases.errors import advice
from envelope_fields.databases.leftovers import Leftover, leftovers
from envelope_fields.databases.tables import has_column, has_table
from envelope_fields.jobs import job
from envelope_fields.jobs.job import Job
from envelope_fields.jobs.representation import progress, progress_of
from envelope_fields.jobs.runs import (
    active_runs,
    all_runs,
    cancel,
    insert,
    principal_of_run,
    record,
)
from envelope_fields.jobs.statements import statements
from envelope_fields.jobs.throttle import Limits
from envelope_fields.keyring.state_changes import committed_at
from envelope_fields.lifecycle.context import key_transaction
from envelope_fields.models import ColumnPhase, RotationKind, RotationRun, RotationState
from envelope_fields.policy import Action, require_on_each
from envelope_fields.rotation.scope import chosen_columns

_JOBS: dict[str, Any] = {
    RotationKind.FILL: Fill,
    RotationKind.COMPARE: Compare,
    RotationKind.EMPTY: Empty,
}


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows of a field have what, counted now in all its tables.

    Attributes:
        clear: the old column has a value.
        envelopes: the new one has.
        remaining: one of them has, and not the other.
    """

    clear: int
    envelopes: int
    remaining: int

    @property
    def rows(self) -> int:
        """How many have something in either."""
        return (self.clear + self.envelopes + self.remaining) // 2


def counted(field: Any) -> Counted:
    """Count the rows of a field.

    Raises:
        CensusFailed: a table could not be counted, or not all of its rows.
    """
    columns = tables(str(field))
    _refuse_unmigrated(field, columns)
    found = [_counted(column) for column in columns]
    return Counted(*map(sum, zip(*found, strict=True))) if found else Counted(0, 0, 0)


def tables(label: str) -> list[Column]:
    """Return the columns of a field that are there, in all databases and schemas."""
    columns = chosen_columns([label])
    return [column for column in columns if has_table(column.table_sql, column.database)]


def _refuse_unmigrated(field: Any, columns: Sequence[Column]) -> None:
    """Raise if a schema has the table of a field, and not its new column yet.

    Its values would not be found in the new column, which every table is in the phase of.
    """
    there = {(column.database, column.relation.schema) for column in columns}
    for using in {column.database for column in columns}:
        ask, quote = database(using), connections[using].ops.quote_name
        wanted = configuration().schemas.of(using)
        for each in ask.tables([quote(field.model._meta.db_table)]):
            is_other = each.schema in wanted and (using, each.schema) not in there
            if is_other and each.kind is Kind.TABLE and not each.ancestors:
                table_sql = ask.quote(each.schema, each.table)
                if has_column(table_sql, quote(field.plain_field.column), using):
                    raise CensusFailed(
                        f"{field}: the table {each} in the database {using!r} does not have its "
                        "new column. Migrate that schema first; or name the schemas that count "
                        'in ENVELOPE_FIELDS["SCHEMAS"].'
                    )


def still_in_clear(field: Any) -> list[Leftover]:
    """Return where values of the old column, which is empty, may still be in databases.

    Statistics of the planner are made anew, since they show values.
    """
    found = []
    for column in tables(str(field)):
        column_sql = connections[column.database].ops.quote_name(field.plain_field.column)
        found += leftovers(column.database, column.table_sql, column_sql)
    return list(dict.fromkeys(found))


def _counted(column: Column) -> list[int]:
    field: Any = column.encrypted_field
    conditions = ("{old} IS NOT NULL", "{new} IS NOT NULL", Fill.condition)
    try:
        with database(column.database).seeing_all_rows():
            return statements(column).count_where(conditions, str(field.plain_field.column))
    except DatabaseError as error:
        raise CensusFailed(
            f"{column} and {field.plain_field.name} could not be counted in the database "
            f"{column.database!r} ({type(error).__name__}). "
            f"{advice(error, column.database, 'Is it migrated, and may this role see all rows?')}"
        ) from error


class MoveScope(job.Scope):
    """What a run is about: a field, in all databases and schemas.

    Args:
        kind: what is done.
        label: `app_label.Model.field`.
    """

    most_passes = 3
    why_some_stay = (
        "are left: others held locks on their rows, or an old build writes them. Stop that, and "
        "run it again."
    )

    def __init__(self, kind: str, label: str) -> None:
        self._kind = kind
        self._label = label

    def columns(self) -> Sequence[Column]:
        return tables(self._label)

    def version_ids(self, column: Column) -> None:
        return None

    def count(self, column: Column) -> Counter[UUID | None]:
        clear, envelopes, remaining = _counted(column)
        rows = {
            RotationKind.FILL: remaining,
            RotationKind.COMPARE: (clear + envelopes + remaining) // 2,
            RotationKind.EMPTY: clear,
        }
        return Counter({None: rows[RotationKind(self._kind)]})

    def count_remaining(self, column: Column) -> Counter[UUID | None]:
        clear, _, remaining = _counted(column)
        return Counter({None: clear if self._kind == RotationKind.EMPTY else remaining})

    def sees_only_by_looking(self, column: Column) -> bool:
        return self._kind == RotationKind.COMPARE

    def job(self, column: Column) -> Job:
        made: Job = _JOBS[self._kind](column)
        return made

    def completed(self, run: RotationRun) -> None:
        """Have the old column be read again if rows differed while the new one was.

        They were written by a build that knows the old column alone, and by no other one were they
        seen. The old column has everything.
        """
        field = moving_field(self._label) if self._kind == RotationKind.COMPARE else None
        found = progress(run)
        if field is not None and (found.moved or found.failed):
            change_phase(
                field, ColumnPhase.ENCRYPTED, ColumnPhase.VERIFIED, actor=principal_of_run(run)
            )


def start(kind: str, field: Any, *, limits: Limits | None = None, actor: Any = None) -> RotationRun:
    """Make a run over a field, to be worked on; or return the one of its kind that is not over.

    Args:
        kind: fill, compare or empty.
        field: the field.
        limits: what it asks of databases at most.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt, then
            and while the run goes on.

    Raises:
        KeyAccessDenied: the actor may not.
    """
    with key_transaction() as using:
        database(using).lock_for_writing(RotationRun._meta.db_table)
        keys = keys_of(field, using)
        principal = require_on_each(Action.RE_ENCRYPT, keys, actor, using=using)
        under_way = [each for each in active(field) if each.kind == kind]
        if under_way:
            return under_way[0]
        started = RotationRun(
            kind=kind,
            only_fields=[str(field)],
            created_at=clock.now(),  # as phases are changed
            limits=(limits or Limits()).nicely().as_json(),
        )
        insert(started, keys, principal, using, holds=False)  # rotations go on
        after = {"field": str(field), "kind": str(kind)}
        record("start_conversion", started, principal, using, after=after)
    return started


def active(field: Any) -> list[RotationRun]:
    """Return the runs over a field that are not over."""
    runs = active_runs().filter(kind__in=list(_JOBS))
    return [each for each in runs if each.only_fields == [str(field)]]


def runs_of_field(field: Any) -> QuerySet[RotationRun]:
    """Return the runs that convert, fill, compare or empty a field, the newest first."""
    return all_runs().filter(kind__in=(RotationKind.CONVERT, *_JOBS), only_fields=[str(field)])


def was_compared_since_switch(field: Any) -> bool:
    """Whether no row differed after the encrypted column began to be read, in a whole comparison.

    An old build may have written between the last comparison before that and the switch.
    """
    row = phase_row(field)
    if row is None:
        return False
    compared = runs_of_field(field).filter(
        kind=RotationKind.COMPARE,
        state=RotationState.COMPLETED,
        created_at__gte=committed_at(row.changed_at),
    )
    return any(not found.moved and not found.failed for found in progress_of(list(compared)))


def cancel_active(field: Any, *, actor: Any = None) -> None:
    """End the runs over a field, which goes back."""
    for each in active(field):
        cancel(each, actor=actor)


def register() -> None:
    """Say what runs of our kinds are about."""
    for kind in _JOBS:
        job.register(kind, lambda run: MoveScope(run.kind, run.only_fields[0]))
