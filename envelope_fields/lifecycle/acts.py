"""What all acts share: a transaction, the lock, the policy's word, and the audit event."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from envelope_fields import audit
from envelope_fields.databases import clock
from envelope_fields.lifecycle.locking import KeyOrVersion, key_transaction, locked
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.representation import Row as Row
from envelope_fields.models import AuditEvent, KeyState, MasterKey, MasterKeyVersion
from envelope_fields.policy import Action, Principal, require

_TOLD = ("state", "state_changed_at", "deletion_at", "destroyed_at")


@dataclass(slots=True)
class Doing:
    """An act under way on a key or version whose row is locked.

    Attributes:
        using: the keys' database.
        principal: on whose behalf.
        key: the row of the master key.
        version: the row of the version that is meant, or None for the key.
    """

    using: str
    principal: Principal
    key: MasterKey
    version: MasterKeyVersion | None = None

    @property
    def row(self) -> Row:
        return self.version or self.key

    def set(self, **columns: Any) -> None:
        """Write columns of the row."""
        for name, value in columns.items():
            setattr(self.row, name, value)
        self.row.save(using=self.using, update_fields=list(columns))

    def become(self, state: KeyState, *, wait: timedelta | None = None) -> None:
        """Write another state, when that was, and where it is one of waiting, until when."""
        # Until the commit, readers find the state as it was, so there must be little to wait for.
        audit.hold(self.using)
        now = clock.now()
        self.set(
            state=state, state_changed_at=now, deletion_at=None if wait is None else now + wait
        )

    def record(self, act: str, before: dict[str, Any], after: dict[str, Any]) -> AuditEvent:
        """Append the audit event to the same transaction (law 9)."""
        return audit.record(
            act,
            actor=self.principal,
            using=self.using,
            key=self.key,
            version=self.version,
            before=before,
            after=after,
        )


@contextmanager
def doing(
    operation: Operation, key: KeyOrVersion, actor: Any, action: Action | None = None
) -> Iterator[Doing]:
    """Lock a key, ask the policy, and let the block do the act; afterwards tell the caller's row.

    Args:
        operation: what is done.
        key: to which key or version.
        actor: on whose behalf; None is the current principal.
        action: what the principal needs, where it is not the operation's.

    Raises:
        MasterKeyNotFound, MasterKeyUnusable, TypeError: as `locking.locked` does.
        KeyAccessDenied: the principal may not.
    """
    with key_transaction() as using:
        row, version = locked(using, key)
        principal = required(action or operation.action, row, actor, using)
        yield (done := Doing(using, principal, row, version))
    tell(key, done.row)


def required(action: Action, key: MasterKey, actor: Any, using: str) -> Principal:
    """Ask the policy, inside the transaction and with the locked row."""
    return require(action, key, actor, using=using)


def tell(known: object, row: Row) -> None:
    """Let the row that the caller holds say what the database says."""
    if isinstance(known, MasterKey | MasterKeyVersion):
        for name in (*_TOLD, "alias", "serves_fields") if isinstance(known, MasterKey) else _TOLD:
            setattr(known, name, getattr(row, name))
