"""Which operation is possible in which state of a key, or of a version that is not current."""

from __future__ import annotations

from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.representation import Row, named
from envelope_fields.models import KeyState, MasterKeyVersion


def possible_operations(row: Row, *, is_current: bool | None = None) -> frozenset[Operation]:
    """Return the operations that change something, as the row is now; for buttons and menus.

    Args:
        row: a key, or a version; nothing is done to a current version alone.
        is_current: whether a version is the current one; None has the database asked.
    """
    state = KeyState(row.state)
    is_version = isinstance(row, MasterKeyVersion)
    if isinstance(row, MasterKeyVersion) and is_current is None:
        is_current = row.number == row.master_key.current_version.number
    return frozenset(
        operation
        for operation in Operation
        if operation.codename and _changes(operation, state)
        if not is_version or (operation.of_versions and not is_current)
    )


def _changes(operation: Operation, state: KeyState) -> bool:
    to = operation.transitions.get(state)
    return to is not None and (to != state or not operation.of_versions)


def state_after(operation: Operation, row: Row) -> KeyState:
    """Return the state that an operation leads to.

    Raises:
        MasterKeyUnusable: not from the state that the row is in (KMS: KMSInvalidStateException).
    """
    to = operation.transitions.get(KeyState(row.state))
    if to is None:
        raise MasterKeyUnusable(
            f"Cannot {operation.phrase or operation.label} {named(row)}: it is "
            f"{row.state.replace('_', ' ')}. {_way_out(operation, row)}"
        )
    return to


def _way_out(operation: Operation, row: Row) -> str:
    if row.state == KeyState.DESTROYED:
        return (
            f"That was on {row.destroyed_at:%Y-%m-%d} and is final."
            if row.destroyed_at
            else ("That is final.")
        )
    if row.state == KeyState.PENDING_DELETION:
        due = f" (it is due on {row.deletion_at:%Y-%m-%d})" if row.deletion_at else ""
        return f"Cancel its deletion first{due}."
    if operation is Operation.CANCEL_DELETION:
        return "There is no deletion to cancel."
    if operation is Operation.DESTROY:
        return "Schedule its deletion first, or shred it together with its values."
    return "Enable it first."
