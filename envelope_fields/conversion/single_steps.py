"""One step of a column in clear where nothing may wait, as in a request.

What `steps` does and waits for is asked for here, and is refused while it is too early.
"""

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from envelope_fields.conversion import column_phases, moves, unread_indexes
from envelope_fields.conversion.moves import runs_of_field
from envelope_fields.conversion.phases import ConversionRefused
from envelope_fields.conversion.representation import differed_text
from envelope_fields.databases import clock
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.dispatch import dispatch_start
from envelope_fields.jobs.representation import progress
from envelope_fields.jobs.throttle import Limits
from envelope_fields.lifecycle.other_processes import known_everywhere
from envelope_fields.lifecycle.representation import as_utc
from envelope_fields.models import ColumnPhase, RotationKind, RotationRun, RotationState

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
    under_way = moves.active(field)
    if under_way:
        raise ConversionRefused(f"{field}: the run {under_way[0].pk} is not over.")
    if to in (ColumnPhase.ENCRYPTED, ColumnPhase.ONLY):
        unread_indexes.refuse_unread_indexes(field)
        unread_indexes.refuse_incomplete_indexes(field)
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
    column_phases.refuse_changed(field, column_phases.phase_now(field), now)
    refuse_too_early(field, now, to)
    if to == previous(now):
        moves.cancel_active(field, actor=actor)
    column_phases.enter_phase(field, now, to, actor=actor)
    if to == ColumnPhase.ENCRYPTED and to == following(now):
        _have_compared(field, actor)
    return to


def _have_compared(field: Any, actor: Any) -> None:
    """Have the worker compare all rows after the switch, if there is one; see `moves.MoveScope`.

    All processes write both columns before it and after it, so there is nothing to wait for.
    """
    with suppress(EnvelopeError):
        dispatch_start(partial(moves.start, RotationKind.COMPARE, field, actor=actor))


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
    return dispatch_start(partial(moves.start, kind, field, limits=limits, actor=actor))


def _refuse_uncompared(field: Any) -> None:
    """Raise if no run has lately compared every row in this phase, or it found some that differ."""
    row = column_phases.phase_row(field)
    since = known_everywhere(row.changed_at) if row else clock.now()
    compared = runs_of_field(field).filter(
        kind=RotationKind.COMPARE, state=RotationState.COMPLETED, created_at__gte=since
    )
    last = compared.first()
    if last is None or last.finished_at is None:
        problem = f"no run that began after {as_utc(since)} has compared every row"
    elif last.finished_at + COMPARED_WITHIN < clock.now():
        problem = f"rows were last compared at {as_utc(last.finished_at)}, which is too long ago"
    else:
        problem = _found_by(last)
    remaining = 0 if problem else moves.counted(field).remaining
    if remaining:
        problem = f"{remaining:,} rows have one value alone"
    if problem:
        raise ConversionRefused(f"{field}: {problem}. Compare the rows, and come back.")


def _found_by(comparison: RotationRun) -> str:
    """Say what a comparison has found wrong; empty where nothing was."""
    found = progress(comparison)
    if found.failed:
        return f"{found.failed:,} rows could not be compared by the run {comparison.pk}"
    if found.moved:
        return f"{differed_text(found.moved)}. End that"
    return ""
