"""Keys that users made, put into the service of fields by the application."""

from __future__ import annotations

from typing import Any

from envelope_fields.lifecycle.acts import Doing, tell
from envelope_fields.lifecycle.locking import Key, key_transaction, locked_key
from envelope_fields.lifecycle.operations import Operation, performs
from envelope_fields.policy import require_application


@performs(Operation.ADOPT)
def adopt(key: Key, *, actor: Any = None) -> None:
    """Let fields that name the alias of a key write under it, though a user made or named it.

    Until then no field does: else a user who took the alias of a key that is not made yet would be
    given what is written under it. Who holds grants on the key keeps them, so look at these first.
    Adopting a key that serves fields does nothing.

    Args:
        key: a master key, its id or its alias.
        actor: the application alone; None is the principal of the request, or the application.

    Raises:
        KeyAccessDenied: a user tries.
        MasterKeyNotFound: there is no such key.
    """
    with key_transaction() as using:
        row = locked_key(using, key)
        principal = require_application(Operation.ADOPT, row, actor)
        if not row.serves_fields:
            done = Doing(using, principal, row)
            done.set(serves_fields=True)
            done.record(Operation.ADOPT, {"serves_fields": False}, {"serves_fields": True})
    tell(key, row)
