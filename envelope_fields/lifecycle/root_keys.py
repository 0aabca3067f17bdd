"""Master keys moved from one root key to another, while everything runs (KMS has no such act)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from envelope_fields import audit, keyring
from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyUnusable
from envelope_fields.keyring import rows
from envelope_fields.keyring.wrapping import Wrapping
from envelope_fields.lifecycle.acts import required
from envelope_fields.lifecycle.failures import Refused, collecting
from envelope_fields.lifecycle.locking import key_transaction, locked_key
from envelope_fields.models import AuditKey, KeyState, MasterKeyVersion
from envelope_fields.policy import APPLICATION, Action, current_principal, principal_of

Row = MasterKeyVersion | AuditKey
_TRIES = 3


class _Changed(Exception):
    """Somebody else moved the row; what was recorded of it is rolled back."""


@dataclass(slots=True)
class Rewrapped:
    """What `rewrap_master_keys` did.

    Attributes:
        moved: the versions, and the key of the audit trail, that the root key wraps now.
        refused: those that it does not, and why; they stay as they were.
    """

    moved: list[Row] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def rewrap_master_keys(to_root_key: str, *, actor: Any = None) -> Rewrapped:
    """Have a root key wrap every master key version that another one wraps now.

    Each version is opened by its present root key, wrapped by the new one, and opened again to see
    that it is the same, before its row is changed; and its row only where it is still the one that
    was read. So it can be stopped anywhere and called again, and several may do it at once. What a
    root key does not open is reported, and stays. The key of the audit trail moves, too. Once
    nothing is left, the old root key can go from the settings.

    Args:
        to_root_key: the name of a root key in the settings.
        actor: as for `create_master_key`; needs the right to rotate each key. The key of the audit
            trail is moved by the application alone.

    Raises:
        ImproperlyConfigured: the settings have no such root key, or it is none.
        RootKeyRefused, RootKeyUnavailable: as it says.
    """
    keyring.check_root_key(to_root_key)
    done = Rewrapped()
    for row in under_other_root_keys(to_root_key):
        with collecting(done.refused, row):
            if _moved(row, to_root_key, actor):
                done.moved.append(row)
    return done


def under_other_root_keys(root_key: str) -> list[Row]:
    """Return what a root key does not wrap: versions with material, and the audit trail's key."""
    using = configuration().database
    versions = MasterKeyVersion.objects.using(using).exclude(root_key=root_key)
    return [
        *versions.exclude(state=KeyState.DESTROYED).select_related("master_key").order_by("pk"),
        *AuditKey.objects.using(using).exclude(root_key=root_key).order_by("number"),
    ]


def _moved(row: Row, to_root_key: str, actor: Any) -> bool:
    """Try until the row is moved, by us or by somebody else; return whether it was us."""
    for _ in range(_TRIES):
        if _move(row, to_root_key, actor):
            return True
        row.refresh_from_db()
        gone = isinstance(row, MasterKeyVersion) and row.state == KeyState.DESTROYED
        if gone or row.root_key == to_root_key:
            return False
    raise MasterKeyUnusable(f"Others are changing {row!r} all the time. Try again.")


def _move(row: Row, to_root_key: str, actor: Any) -> bool:
    """Move a row that is as we read it; return False where somebody has changed it meanwhile."""
    if isinstance(row, MasterKeyVersion):
        return _move_version(row, to_root_key, actor)
    with suppress(_Changed):
        _move_audit_key(row, to_root_key, actor)
        return True
    return False


def _move_version(version: MasterKeyVersion, to_root_key: str, actor: Any) -> bool:
    read = rows.with_version_id(bytes(version.version_id), usage=None)
    if read.root_key == to_root_key or read.state.state == KeyState.DESTROYED:
        return False
    columns = _columns(keyring.rewrapped(read, to_root_key), to_root_key)  # in no transaction
    with key_transaction() as using:
        key = locked_key(using, version.master_key_id)
        principal = required(Action.ROTATE, key, actor, using)
        if not _swap(MasterKeyVersion.objects.using(using), version, read, columns):
            return False
        audit.record(
            "rewrap_master_key",
            actor=principal,
            using=using,
            key=key,
            version=version,
            before={"root_key": read.root_key},
            after={"root_key": to_root_key},
        )
    return True


def _move_audit_key(key: AuditKey, to_root_key: str, actor: Any) -> None:
    principal = current_principal() if actor is None else principal_of(actor)
    if principal != APPLICATION:
        raise KeyAccessDenied(
            "The key of the audit trail is moved by the application: run "
            "`python manage.py rewrap_master_keys`."
        )
    read = rows.of_audit_key(key)
    columns = _columns(keyring.rewrapped(read, to_root_key), to_root_key)
    with key_transaction() as using:
        # The event first, since it locks the head of the trail before this key, as all events do.
        audit.record(
            "rewrap_audit_key",
            actor=principal,
            using=using,
            before={"root_key": read.root_key},
            after={"root_key": to_root_key},
        )
        if not _swap(AuditKey.objects.using(using), key, read, columns):
            raise _Changed


def _swap(table: Any, row: Row, read: rows.KeyRow, columns: dict[str, Any]) -> bool:
    """Write the new wrapping where the row still has the one that was read."""
    same = table.filter(pk=row.pk, root_key=read.root_key, wrapped_material=read.wrapped_material)
    if not same.update(**columns):
        return False
    for name, value in columns.items():
        setattr(row, name, value)
    return True


def _columns(wrapped: Wrapping, root_key: str) -> dict[str, Any]:
    return {
        "root_key": root_key,
        "wrapped_material": wrapped.material,
        "wrapping_key_id": wrapped.wrapping_key_id,
    }
