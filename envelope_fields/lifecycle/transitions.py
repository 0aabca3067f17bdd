"""The state machine of master keys, and of their versions that are not current: one table.

AWS KMS has the same states for its keys ("Key states of AWS KMS keys"). What is not in the table
is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from django.db.models import Model

from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion


class Act(StrEnum):
    """What can be done to a key; the values name the events of the audit trail."""

    ENABLE = "enable"
    DISABLE = "disable"
    SCHEDULE_DELETION = "schedule_deletion"
    CANCEL_DELETION = "cancel_deletion"
    DESTROY = "destroy"
    SHRED = "shred"
    ROTATE = "rotate"
    MOVE_ALIAS = "move_alias"
    UPDATE = "update_key"


_ENABLED, _DISABLED = KeyState.ENABLED, KeyState.DISABLED
_PENDING, _DESTROYED = KeyState.PENDING_DELETION, KeyState.DESTROYED

# From, act, to. An act that leads where the key already is does nothing, however often.
TRANSITIONS: Mapping[KeyState, Mapping[Act, KeyState]] = {
    _ENABLED: {
        Act.ENABLE: _ENABLED,
        Act.DISABLE: _DISABLED,
        Act.SCHEDULE_DELETION: _PENDING,
        Act.SHRED: _DESTROYED,  # by way of disabled
        Act.ROTATE: _ENABLED,
        Act.MOVE_ALIAS: _ENABLED,
        Act.UPDATE: _ENABLED,
    },
    _DISABLED: {
        Act.ENABLE: _ENABLED,
        Act.DISABLE: _DISABLED,
        Act.SCHEDULE_DELETION: _PENDING,
        Act.CANCEL_DELETION: _DISABLED,
        Act.SHRED: _DESTROYED,
        Act.MOVE_ALIAS: _DISABLED,
        Act.UPDATE: _DISABLED,
    },
    _PENDING: {
        Act.SCHEDULE_DELETION: _PENDING,
        Act.CANCEL_DELETION: _DISABLED,
        Act.DESTROY: _DESTROYED,  # when its time has come
        Act.SHRED: _DESTROYED,
    },
    _DESTROYED: {},
}
OF_VERSIONS = frozenset(Act) - {Act.ROTATE, Act.MOVE_ALIAS, Act.UPDATE}

_WORDS = {
    Act.ENABLE: "enable",
    Act.DISABLE: "disable",
    Act.SCHEDULE_DELETION: "schedule the deletion of",
    Act.CANCEL_DELETION: "cancel the deletion of",
    Act.DESTROY: "destroy",
    Act.SHRED: "shred",
    Act.ROTATE: "rotate",
    Act.MOVE_ALIAS: "move an alias to",
    Act.UPDATE: "update",
}


def possible_acts(
    row: MasterKey | MasterKeyVersion, *, is_current: bool | None = None
) -> frozenset[Act]:
    """Return the acts that change something, as the row is now; for buttons and menus.

    Args:
        row: a key, or a version; a current version has no acts of its own.
        is_current: whether a version is the current one; None has the database asked.
    """
    state = KeyState(row.state)
    found = {act for act, to in TRANSITIONS[state].items() if to != state or act not in OF_VERSIONS}
    if isinstance(row, MasterKeyVersion):
        if is_current is None:
            is_current = row.number == row.master_key.current_version.number
        found = set() if is_current else found & OF_VERSIONS
    return frozenset(found - {Act.DESTROY})  # only `destroy_due_keys` does that


def state_after(act: Act, row: MasterKey | MasterKeyVersion) -> KeyState:
    """Return the state that an act leads to.

    Raises:
        MasterKeyUnusable: not from the state that the row is in (KMS: KMSInvalidStateException).
    """
    to = TRANSITIONS[KeyState(row.state)].get(act)
    if to is None:
        raise MasterKeyUnusable(
            f"Cannot {_WORDS[act]} {named(row)}: it is {row.state.replace('_', ' ')}. "
            f"{_way_out(act, row)}"
        )
    return to


def named(row: Model) -> str:
    """Name a key or version in a message."""
    return f"{'the master key ' if isinstance(row, MasterKey) else ''}{row}"


def _way_out(act: Act, row: MasterKey | MasterKeyVersion) -> str:
    if row.state == _DESTROYED:
        return (
            f"That was on {row.destroyed_at:%Y-%m-%d} and is final."
            if row.destroyed_at
            else ("That is final.")
        )
    if row.state == _PENDING:
        due = f" (it is due on {row.deletion_at:%Y-%m-%d})" if row.deletion_at else ""
        return f"Cancel its deletion first{due}."
    if act is Act.CANCEL_DELETION:
        return "There is no deletion to cancel."
    if act is Act.DESTROY:
        return "Schedule its deletion first, or shred it together with its values."
    return "Enable it first."
