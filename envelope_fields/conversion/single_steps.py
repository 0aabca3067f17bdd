"""One step of a column in clear where nothing may wait, as in a request.

What `steps` does and waits for is asked for here, and is refused while it is too early.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from envelope_fields import databases
from envelope_fields.conversion import column_phases, runs
from envelope_fields.conversion.counts import counted
from envelope_fields.conversion.phases import ConversionRefused, phase_row, refuse_denied
from envelope_fields.conversion.representation import differed_text
from envelope_fields.exceptions import EnvelopeError, quantity
from envelope_fields.indexing.runs import last_verification, wrong_rows
from envelope_fields.jobs.dispatch import dispatch_start
from envelope_fields.jobs.representation import progress, progress_of
from envelope_fields.jobs.throttle import Limits
from envelope_fields.lifecycle.index_states import begun_index
from envelope_fields.lifecycle.other_processes import known_everywhere
from envelope_fields.lifecycle.representation import as_utc
from envelope_fields.models import ColumnPhase, IndexState, RotationKind, RotationRun, RotationState

COMPARED_WITHIN = timedelta(hours=1)  # an old build may have been booted since

_ORDER = list(ColumnPhase)
_RUNS = {
    ColumnPhase.FILLING: (RotationKind.FILL, RotationKind.COMPARE),
    ColumnPhase.VERIFIED: (RotationKind.COMPARE,),
    ColumnPhase.ENCRYPTED: (RotationKind.COMPARE,),
    ColumnPhase.ONLY: (RotationKind.EMPTY,),
}


def following(now: ColumnPhase) -> ColumnPhase | None:
    """Return the phase after one; None after the last."""
    return None if now == ColumnPhase.ONLY else _ORDER[_ORDER.index(now) + 1]


def previous(now: ColumnPhase) -> ColumnPhase | None:
    """Return the phase that leads back from one; None where there is no way back."""
    is_final = now in (ColumnPhase.CLEAR, ColumnPhase.ONLY)
    return None if is_final else _ORDER[_ORDER.index(now) - 1]


def possible_runs(now: ColumnPhase) -> tuple[RotationKind, ...]:
    """Return the kinds of runs that a phase is for."""
    return _RUNS.get(now, ())


def refuse_too_early(field: Any, now: ColumnPhase, to: ColumnPhase) -> None:
    """Return if a field may go from a phase to the one after or before it.

    Raises:
        ConversionRefused: something is missing, or would have to be waited for; and what.
        CensusFailed: rows could not be counted.
    """
    if to == previous(now):
        if now != ColumnPhase.ENCRYPTED:
            column_phases.refuse_unsettled(field)
        return
    column_phases.refuse_unsettled(field)
    under_way = runs.active(field)
    if under_way:
        raise ConversionRefused(f"{field}: the run {under_way[0].pk} is not over.")
    if to in (ColumnPhase.ENCRYPTED, ColumnPhase.ONLY):
        refuse_unread_indexes(field)
        refuse_incomplete_indexes(field)
    if now in (ColumnPhase.FILLING, ColumnPhase.VERIFIED, ColumnPhase.ENCRYPTED):
        _refuse_uncompared(field)


def take_step(field: Any, now: ColumnPhase, to: ColumnPhase, *, actor: Any = None) -> ColumnPhase:
    """Bring a field from a phase to the one after or before it.

    Args:
        field: a field with `converts=`.
        now: the phase that the caller has seen.
        to: the phase that it gets.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt.

    Raises:
        ConversionRefused: as above; or it is in another phase by now.
        KeyAccessDenied: the actor may not.
    """
    refuse_denied(field, actor)
    column_phases.refuse_changed(field, column_phases.phase_now(field), now)
    refuse_too_early(field, now, to)
    if to == previous(now):
        runs.cancel_active(field, actor=actor)
    column_phases.enter_phase(field, now, to, actor=actor)
    if to == ColumnPhase.ENCRYPTED and to == following(now):
        _have_compared(field, actor)
    return to


def _have_compared(field: Any, actor: Any) -> None:
    """Have the worker compare all rows after the switch, if there is one; see `runs.MoveScope`.

    All processes write both columns before it and after it, so there is nothing to wait for.
    """
    with suppress(EnvelopeError):
        dispatch_start(partial(runs.start, RotationKind.COMPARE, field, actor=actor))


def start_run(
    field: Any, kind: RotationKind, *, limits: Limits | None = None, actor: Any = None
) -> RotationRun:
    """Have the worker of the settings fill, compare or empty a field.

    Raises:
        ConversionRefused: its phase is not for that, or is not known everywhere.
        KeyAccessDenied: the actor may not.
        EnvelopeError: as `jobs.dispatch.dispatch_start` does.
    """
    now = column_phases.phase_now(field)
    if kind not in possible_runs(now):
        raise ConversionRefused(f"{field} is {now}: a run of the kind {kind} is not for that.")
    column_phases.refuse_unsettled(field)
    return dispatch_start(partial(runs.start, kind, field, limits=limits, actor=actor))


def _refuse_uncompared(field: Any) -> None:
    """Raise if no run has lately compared every row in this phase, or it found some that differ."""
    row = phase_row(field)
    since = known_everywhere(row.changed_at) if row else databases.now()
    compared = runs.runs_of_field(field).filter(
        kind=RotationKind.COMPARE, state=RotationState.COMPLETED, created_at__gte=since
    )
    last = compared.first()
    if last is None or last.finished_at is None:
        problem = f"no run that began after {as_utc(since)} has compared every row"
    elif last.finished_at + COMPARED_WITHIN < databases.now():
        problem = f"rows were last compared at {as_utc(last.finished_at)}, which is too long ago"
    else:
        problem = _found_by(last)
    remaining = 0 if problem else counted(field).remaining
    if remaining:
        problem = f"{quantity(remaining, 'row')} with one value alone"
    if problem:
        raise ConversionRefused(f"{field}: {problem}. Compare the rows, and come back.")


def _found_by(comparison: RotationRun) -> str:
    """Say what a comparison has found wrong; empty where nothing was."""
    found = progress(comparison)
    if found.failed:
        return f"{quantity(found.failed, 'row')} could not be compared by the run {comparison.pk}"
    if found.moved:
        return f"{differed_text(found.moved)}. End that"
    return ""


# -- Blind indexes that lookups are to ask once a column is encrypted ------------------------------


def refuse_unread_indexes(field: Any) -> None:
    """Raise `ConversionRefused` unless lookups ask each index of a field."""
    for index in field.indexes:
        row = begun_index(index.field_path)
        if row is None or row.state != IndexState.READING:
            state = "not begun" if row is None else row.state
            raise ConversionRefused(
                f"{field}: lookups are to ask {index}, which is {state}. Run `python "
                f"manage.py rebuild_indexes {index.field_path} --to reading` first."
            )


def refuse_incomplete_indexes(field: Any) -> None:
    """Raise `ConversionRefused` if rows may be in no index that is read.

    They may, where they were filled since it became reading, and it was not verified.
    """
    written_at = _last_written(field) if field.indexes else None
    for index in field.indexes:
        row = begun_index(index.field_path)
        if written_at is None or row is None or row.state_changed_at >= written_at:
            continue
        found = last_verification(index, since=written_at)
        if found is None or wrong_rows(found):
            raise ConversionRefused(
                f"{field}: rows were filled since {index} became reading, and may not be in it. "
                "Rebuild and verify it: `python manage.py rebuild_indexes "
                f"{index.field_path} --to reading` does both."
            )


def _last_written(field: Any) -> datetime | None:
    """Return when a run has last written rows of a field."""
    begun = list(runs.runs_of_field(field))
    ends = [
        run.finished_at or databases.now()
        for run, found in zip(begun, progress_of(begun), strict=True)
        if found.moved and run.kind != RotationKind.EMPTY
    ]
    return max(ends, default=None)
