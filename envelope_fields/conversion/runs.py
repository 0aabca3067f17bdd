"""Runs over a field under conversion: each recorded, and taken up again.

They convert what another package has stored. Or they fill a column that moves, compare, and empty.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Model, QuerySet

from envelope_fields.census.columns import Column
from envelope_fields.census.values import counted
from envelope_fields.conversion import phases
from envelope_fields.conversion.column_phases import change_phase, moving_field
from envelope_fields.conversion.convert import Convert, ConvertBeside
from envelope_fields.conversion.counts import counted_in, refuse_emptied, tables
from envelope_fields.conversion.moving import Compare, Empty, Fill
from envelope_fields.conversion.phases import ConversionRefused, Phase, phase_row
from envelope_fields.exceptions import EnvelopeError, quantity
from envelope_fields.jobs import job, runs
from envelope_fields.jobs.batches import Batches
from envelope_fields.jobs.representation import progress, progress_of
from envelope_fields.jobs.throttle import Limits
from envelope_fields.keyring.conversions import is_finished
from envelope_fields.migrating import moves
from envelope_fields.models import (
    ColumnPhase,
    ConversionKind,
    RotationKind,
    RotationRun,
    RotationState,
)
from envelope_fields.models.state_changes import committed_at
from envelope_fields.policy import APPLICATION, acting_as
from envelope_fields.rotation.scope import chosen_columns

_JOBS: dict[str, Any] = {
    RotationKind.FILL: Fill,
    RotationKind.COMPARE: Compare,
    RotationKind.EMPTY: Empty,
}
KINDS = (RotationKind.CONVERT, *_JOBS)


class _FieldScope(job.Scope):
    """What a run does with a field, in all databases and schemas."""

    most_passes = 3

    def __init__(self, run: RotationRun) -> None:
        self._kind = RotationKind(run.kind)
        self._label = run.only_field

    def version_ids(self, column: Column) -> None:
        return None  # every value is looked at: those in other formats name no key version


class ConversionScope(_FieldScope):
    """What a run converts, of another package's format."""

    why_some_stay = (
        "stayed that could be converted: others held locks on their rows, or an old build still "
        "writes them. Stop that, and run it again."
    )

    def columns(self) -> list[Column]:
        return chosen_columns([self._label])

    def count(self, column: Column) -> Counter[UUID | None]:
        remaining = [group for group in counted(column, history=False) if group.version_id is None]
        return Counter({None: sum(group.values for group in remaining)})

    def count_remaining(self, column: Column) -> Counter[UUID | None]:
        return self.count(column)

    def sees_only_by_looking(self, column: Column) -> bool:
        return False

    def job(self, column: Column) -> job.Job:
        field: Any = column.encrypted_field
        if is_finished(column.model._meta.label, column.field.name):
            raise EnvelopeError(f"{field}: the conversion of this column is finished.")
        return ConvertBeside(column) if field.reads_beside else Convert(column)


class MoveScope(_FieldScope):
    """What a run fills, compares or empties."""

    why_some_stay = (
        "stayed: others held locks on their rows, or an old build writes them. Stop that, and run "
        "it again."
    )

    def columns(self) -> Sequence[Column]:
        return tables(self._label)

    def count(self, column: Column) -> Counter[UUID | None]:
        clear, envelopes, remaining = counted_in(column)
        rows = {
            RotationKind.FILL: remaining,
            RotationKind.COMPARE: (clear + envelopes + remaining) // 2,
            RotationKind.EMPTY: clear,
        }
        return Counter({None: rows[self._kind]})

    def count_remaining(self, column: Column) -> Counter[UUID | None]:
        clear, _, remaining = counted_in(column)
        return Counter({None: clear if self._kind == RotationKind.EMPTY else remaining})

    def sees_only_by_looking(self, column: Column) -> bool:
        return self._kind == RotationKind.COMPARE

    def job(self, column: Column) -> job.Job:
        made: job.Job = _JOBS[self._kind](column)
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
                field, ColumnPhase.ENCRYPTED, ColumnPhase.VERIFIED, actor=runs.principal_of_run(run)
            )


def register() -> None:
    """Say what runs of our kinds are about, and have migrations encrypt what they find."""
    job.register(RotationKind.CONVERT, ConversionScope)
    for kind in _JOBS:
        job.register(kind, MoveScope)
    moves.fill_late_columns_by(fill_late_column)


def start(kind: str, field: Any, *, limits: Limits | None = None, actor: Any = None) -> RotationRun:
    """Make a run over a field, to be worked on; or return the one of its kind that is not over.

    Args:
        kind: convert, fill, compare or empty.
        limits: what it asks of databases at most.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt, then
            and while the run goes on.

    Raises:
        ConversionRefused: it is to convert, and the conversion is finished; or it is to fill or
            compare, and the column in clear was emptied.
        KeyAccessDenied: the actor may not.
    """
    converts = kind == RotationKind.CONVERT
    if kind in (RotationKind.FILL, RotationKind.COMPARE):
        refuse_emptied(field)
    with phases.acting_on(field, RotationRun, actor) as (using, keys, principal):
        row = phase_row(field) if converts else None
        if row is not None and row.phase == Phase.FINISHED:
            raise ConversionRefused(f"The conversion of {field} is finished: nothing converts it.")
        under_way = active(field).filter(kind=kind).first()
        if under_way is not None:
            return under_way
        started = RotationRun(
            kind=kind,
            only_fields=[str(field)],
            limits=(limits or Limits()).nicely().as_json(),
        )
        runs.insert(started, keys, principal, using, holds=False)  # rotations go on
        if converts:
            phases.begun(field, using, ConversionKind.LEGACY, Phase.CONVERTING)
        after = {"field": str(field), "kind": str(kind)}
        runs.record("start_conversion", started, principal, using, after=after)
    return started


def active(field: Any) -> QuerySet[RotationRun]:
    """Return the runs over a field that are not over, the newest first."""
    return runs.active_runs().filter(kind__in=KINDS, only_fields=[str(field)])


def runs_of_field(field: Any) -> QuerySet[RotationRun]:
    """Return the runs over a field, the newest first."""
    return runs.all_runs().filter(kind__in=KINDS, only_fields=[str(field)])


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
        runs.cancel(each, actor=actor)


# -- A column that is added when the others of its field are encrypted already ---------------------

# A tenant's schema is made later, or migrated later, or restored as it was before the move. Its
# values in clear would be passed over, and written over, from the migration on.


def fill_late_column(model: type[Model], name: str, phase: ColumnPhase, using: str) -> None:
    """Encrypt what a table has in clear, as the phase wants it.

    Args:
        model: with its table, as the migration has it.
        name: of the encrypted field.
        phase: of the field: encrypted values are read.
        using: the alias of the database.

    Raises:
        ConversionRefused: values cannot be encrypted; the message has the first of them.
    """
    field: Any = model._meta.get_field(name)
    quote = connections[using].ops.quote_name
    column = Column(
        database=using, model=model, field=field,
        table_sql=quote(model._meta.db_table), column_sql=quote(str(field.column)),
    )  # fmt: skip
    made = Fill(column) if phase.writes_old else Empty(column)
    with acting_as(APPLICATION):
        batches = list(Batches(column, made, Limits()).between(None, None, None))
    failed = [each for batch in batches for each in batch.failed]
    if failed:
        first = failed[0]
        raise ConversionRefused(
            f"{field} is encrypted, and {quantity(len(failed), 'value')} in clear of a table that "
            f"is migrated now could not be: {first.stored.key[0]}: {first.cause}: {first.message} "
            "Mend these rows, and migrate again."
        )
