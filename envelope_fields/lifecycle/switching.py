"""Keys and versions on and off (KMS: EnableKey, DisableKey)."""

from __future__ import annotations

from typing import Any

from envelope_fields.lifecycle.acts import doing
from envelope_fields.lifecycle.locking import KeyOrVersion
from envelope_fields.lifecycle.operations import Operation, performs
from envelope_fields.lifecycle.representation import state_content
from envelope_fields.lifecycle.transitions import state_after


@performs(Operation.ENABLE)
def enable(key: KeyOrVersion, *, actor: Any = None) -> None:
    """Make a disabled master key, or a disabled version of one, usable again (KMS: EnableKey).

    Doing it twice does nothing. Arguments and errors are those of `disable`.
    """
    _switch(Operation.ENABLE, key, actor)


@performs(Operation.DISABLE)
def disable(key: KeyOrVersion, *, actor: Any = None) -> None:
    """Make a master key, or a version that is not current, unusable (KMS: DisableKey).

    Nothing is encrypted or decrypted under it until it is enabled: at once in this process, in
    others within `KEY_CACHE_SECONDS`. Doing it twice does nothing.

    Args:
        key: a master key, its id, its alias, or a `MasterKeyVersion`.
        actor: as for `create_master_key`.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: the state does not allow it, or the version is the current one.
        KeyAccessDenied: the actor may not.
    """
    _switch(Operation.DISABLE, key, actor)


def _switch(operation: Operation, key: KeyOrVersion, actor: Any) -> None:
    with doing(operation, key, actor) as done:
        to = state_after(operation, done.row)
        if to != done.row.state:
            before = state_content(done.row)
            done.become(to)
            done.record(operation, before, state_content(done.row))
