"""The phase of a column that moves beside another: read now, changed, and known everywhere.

Every process goes by a phase for as long as by keys. So a phase is settled when each knows it, and
the transactions are over in which one wrote by what it knew before.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from envelope_fields import audit, databases
from envelope_fields.conversion import phases
from envelope_fields.conversion.phases import ConversionRefused, phase_row
from envelope_fields.keyring.conversions import CHANGE, conversions_now
from envelope_fields.lifecycle.other_processes import known_everywhere, wait_for_older, wait_until
from envelope_fields.lifecycle.representation import as_utc
from envelope_fields.models import ColumnConversion, ColumnPhase, ConversionKind
from envelope_fields.models.state_changes import begin_change

SECONDS_FOR_TRANSACTIONS = 600  # the oldest may run so long, until an operator is asked


def moving_field(label: str) -> Any:
    """Return a field that takes the place of a column in clear, or None; as `phases.find_field`."""
    field = phases.find_field(label)
    return field if _moves(field) else None


def has_moved(label: str) -> bool:
    """Whether a field is in the last phase, and its column in clear is not declared any more.

    Errors as above.
    """
    field = phases.find_field(label)
    return field.converts is None and phase_now(field) == ColumnPhase.ONLY


def moving_fields() -> list[Any]:
    """Return all such fields."""
    return list(filter(_moves, phases.encrypted_fields().values()))


def _moves(field: Any) -> bool:
    return field.plain_field is not None and not field.reads_beside


def phase_now(field: Any) -> ColumnPhase:
    """Return the phase of a field, past what is cached; errors as of `known_conversions`."""
    model, _, name = str(field).rpartition(".")
    return conversions_now().phase(model, name)


def change_phase(
    field: Any, expected: ColumnPhase, to: ColumnPhase, *, actor: Any = None
) -> ColumnPhase:
    """Bring a field from one phase to another, unless another operator was faster.

    Whether its columns are what the phase says is the caller's to have found out.

    Args:
        expected: the phase that the caller has seen.
        to: the phase that it gets.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt.

    Returns:
        The phase as it is now.

    Raises:
        KeyAccessDenied: the actor may not.
    """
    with phases.acting_on(field, ColumnConversion, actor) as (using, keys, principal):
        row = phases.begun(field, using, ConversionKind.COLUMN, ColumnPhase.CLEAR)
        if row.phase == expected and to != expected:
            audit.hold(using)  # until the commit, others go by the phase as it was
            row.phase, row.changed_at = to, begin_change(using)
            row.save(using=using, update_fields=["phase", "changed_at"])
            about, before = {"field": str(field), "phase": str(to)}, {"phase": str(expected)}
            phases.record(CHANGE, keys, principal, using, about=about, before=before)
    return ColumnPhase(row.phase)


def enter_phase(field: Any, expected: ColumnPhase, to: ColumnPhase, *, actor: Any = None) -> None:
    """Bring a field from one phase to another, or raise `ConversionRefused`; see `change_phase`."""
    refuse_changed(field, change_phase(field, expected, to, actor=actor), to)


def refuse_changed(field: Any, found: ColumnPhase, *expected: ColumnPhase) -> None:
    """Raise `ConversionRefused` if a field is in none of the phases that a step goes by."""
    if found not in expected:
        raise ConversionRefused(
            f"{field} is {found} by now: another operator has changed it. Look again, or run the "
            "command again."
        )


def settle(field: Any, notice: Callable[[str], object]) -> None:
    """Wait until every process knows the phase, and transactions from before are over.

    Args:
        notice: is called with what it waits for.

    Raises:
        ConversionRefused: transactions do not end.
    """
    until = _known_from(field)
    if until is None:
        return
    remaining = (until - databases.now()).total_seconds()
    if remaining > 1:
        notice(f"{field}: every process knows it in {remaining:.0f} s.")
    while databases.now() < until:
        wait_until(until)
    _refuse_older_transactions(field, until, SECONDS_FOR_TRANSACTIONS, notice)


def refuse_unsettled(field: Any) -> None:
    """Raise `ConversionRefused` while `settle` would wait, and say until when."""
    until = _known_from(field)
    if until is None:
        return
    if until > databases.now():
        raise ConversionRefused(
            f"{field}: every process knows its phase at {as_utc(until)}. Go on after that."
        )
    _refuse_older_transactions(field, until, 0, lambda _: None)


def _known_from(field: Any) -> datetime | None:
    """Return from when on every process knows the phase; None where it is the first one."""
    row = phase_row(field)
    return None if row is None else known_everywhere(row.changed_at)


def _refuse_older_transactions(
    field: Any, until: datetime, seconds: float, notice: Callable[[str], object]
) -> None:
    """Raise if transactions that began before a moment do not end within some seconds."""
    waited = wait_for_older(until, seconds)
    for unseen in waited.unseen:
        notice(f"{field}: not seen: {unseen}.")
    if waited.still_open:
        listed = ", ".join(map(str, waited.still_open))
        raise ConversionRefused(
            f"{field}: transactions from before the phase was changed are open ({listed}). End "
            "them, and run this again."
        )
