"""The phase of a column that moves beside another: read now, changed, and known everywhere.

Every process goes by a phase for as long as by keys. So a phase is settled when each knows it, and
the transactions are over in which one wrote by what it knew before.
"""

from collections.abc import Callable
from datetime import datetime
from time import sleep
from typing import Any

from envelope_fields import audit
from envelope_fields.census.columns import NoSuchField
from envelope_fields.conf import configuration
from envelope_fields.conversion.phases import ConversionRefused, keys_of
from envelope_fields.databases import clock, database
from envelope_fields.keyring.state_changes import begin_change
from envelope_fields.lifecycle.context import key_transaction
from envelope_fields.lifecycle.other_processes import known_everywhere, wait_for_older
from envelope_fields.lifecycle.representation import as_utc
from envelope_fields.models import ColumnConversion, ColumnPhase, ConversionKind
from envelope_fields.policy import Action, require_on_each
from envelope_fields.rotation.scope import chosen_columns

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_FOR_TRANSACTIONS = 600  # the oldest may run so long, until an operator is asked


def moving_field(label: str) -> Any:
    """Return a field that takes the place of a column in clear; None where it does not.

    Args:
        label: `app_label.Model.field`.

    Raises:
        NoSuchField: no encrypted field has the name.
    """
    field = _encrypted_field(label)
    return field if _moves(field) else None


def has_moved(label: str) -> bool:
    """Whether a field is in the last phase, and its column in clear is not declared any more.

    Errors as above.
    """
    field = _encrypted_field(label)
    return field.converts is None and phase_now(field) == ColumnPhase.ONLY


def _encrypted_field(label: str) -> Any:
    columns = chosen_columns([label])
    if str(columns[0]).lower() != label.lower():
        raise NoSuchField(f"{label!r} names no field: write app_label.Model.field.")
    return columns[0].field


def moving_fields() -> list[Any]:
    """Return all such fields."""
    fields = {str(column): column.encrypted_field for column in chosen_columns()}
    return [field for _, field in sorted(fields.items()) if _moves(field)]


def _moves(field: Any) -> bool:
    return field.plain_field is not None and not field.reads_beside


def phase_row(field: Any) -> ColumnConversion | None:
    """Return the row of a field's phase as it is now; None where it has not begun."""
    found: ColumnConversion | None = _rows(configuration().database).filter(**_names(field)).first()
    return found


def phase_now(field: Any) -> ColumnPhase:
    """Return the phase of a field, past what is cached."""
    row = phase_row(field)
    is_known = row is not None and row.kind == ConversionKind.COLUMN
    return ColumnPhase(row.phase) if row and is_known else ColumnPhase.CLEAR


def change_phase(
    field: Any, expected: ColumnPhase, to: ColumnPhase, *, actor: Any = None
) -> ColumnPhase:
    """Bring a field from one phase to another, unless another operator was faster.

    Whether its columns are what the phase says is the caller's to have found out.

    Args:
        field: the field.
        expected: the phase that the caller has seen.
        to: the phase that it gets.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt.

    Returns:
        The phase as it is now.

    Raises:
        KeyAccessDenied: the actor may not.
    """
    with key_transaction() as using:
        database(using).lock_for_writing(ColumnConversion._meta.db_table)
        keys = keys_of(field, using)
        principal = require_on_each(Action.RE_ENCRYPT, keys, actor, using=using)
        row = _locked(field, using)
        if row.phase == expected and to != expected:
            audit.hold(using)  # until the commit, others go by the phase as it was
            row.phase, row.changed_at = to, begin_change(using)
            row.save(using=using, update_fields=["phase", "changed_at"])
            about = {"field": str(field), "phase": str(to)}
            audit.record_each(
                "change_conversion_phase",
                [(key, about) for key in keys] or [(None, about)],
                actor=principal,
                using=using,
                before={"phase": str(expected)},
            )
    return ColumnPhase(row.phase)


def enter_phase(field: Any, expected: ColumnPhase, to: ColumnPhase, *, actor: Any = None) -> None:
    """Bring a field from one phase to another; arguments are those of `change_phase`.

    Raises:
        ConversionRefused: another operator was faster.
        KeyAccessDenied: the actor may not.
    """
    refuse_changed(field, change_phase(field, expected, to, actor=actor), to)


def refuse_changed(field: Any, found: ColumnPhase, *expected: ColumnPhase) -> None:
    """Return if a field is in one of the phases that a step goes by.

    Raises:
        ConversionRefused: another operator has changed it.
    """
    if found not in expected:
        raise ConversionRefused(
            f"{field} is {found} by now: another operator has changed it. Look again, or run the "
            "command again."
        )


def settle(field: Any, notice: Callable[[str], object]) -> None:
    """Wait until every process knows the phase, and transactions from before are over.

    Args:
        field: the field.
        notice: is called with what it waits for.

    Raises:
        ConversionRefused: transactions do not end.
    """
    row = phase_row(field)
    if row is None:
        return
    until = known_everywhere(row.changed_at)
    remaining = (until - clock.now()).total_seconds()
    if remaining > SECONDS_BETWEEN_LOOKS:
        notice(f"{field}: every process knows it in {remaining:.0f} seconds.")
    while remaining > 0:
        sleep(min(remaining, SECONDS_BETWEEN_LOOKS))
        remaining = (until - clock.now()).total_seconds()
    _refuse_older_transactions(field, until, SECONDS_FOR_TRANSACTIONS, notice)


def refuse_unsettled(field: Any) -> None:
    """Return if every process knows the phase, and transactions from before are over.

    Raises:
        ConversionRefused: they do not yet; the message says until when.
    """
    row = phase_row(field)
    if row is None:
        return
    until = known_everywhere(row.changed_at)
    if until > clock.now():
        raise ConversionRefused(
            f"{field}: every process knows its phase at {as_utc(until)}. Go on after that."
        )
    _refuse_older_transactions(field, until, 0, lambda _: None)


def _refuse_older_transactions(
    field: Any, until: datetime, seconds: float, notice: Callable[[str], object]
) -> None:
    """Raise if transactions that began before a moment do not end within some seconds."""
    waited = wait_for_older(lambda: max((clock.now() - until).total_seconds(), 0), seconds)
    for unseen in waited.unseen:
        notice(f"{field}: not seen: {unseen}.")
    if waited.still_open:
        listed = ", ".join(map(str, waited.still_open))
        raise ConversionRefused(
            f"{field}: transactions from before the phase was changed are open ({listed}). End "
            "them, and run this again."
        )


def _locked(field: Any, using: str) -> ColumnConversion:
    rows = _rows(using)
    now = clock.now()
    rows.get_or_create(
        **_names(field),
        defaults={
            "kind": ConversionKind.COLUMN,
            "phase": ColumnPhase.CLEAR,
            "started_at": now,
            "changed_at": now,
        },
    )
    found: ColumnConversion = rows.select_for_update().get(**_names(field))
    return found


def _rows(using: str) -> Any:
    return ColumnConversion.objects.using(using)


def _names(field: Any) -> dict[str, str]:
    model = field.model._meta.label
    return {"model": model, "field": field.name}
