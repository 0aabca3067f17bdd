"""Versions of master keys and the root keys that wrap them: moved to another one, and opened.

KMS has no such operations. Everything goes on meanwhile.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import F, TextChoices, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from envelope_fields import audit, keyring
from envelope_fields.conf import configuration
from envelope_fields.exceptions import (
    KeyAccessDenied,
    MasterKeyUnusable,
    RootKeyRefused,
    RootKeyUnavailable,
)
from envelope_fields.keyring import rows
from envelope_fields.lifecycle.context import key_transaction, performing
from envelope_fields.lifecycle.keys import Refused, collecting
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.models import AuditKey, KeyState, MasterKeyVersion
from envelope_fields.policy import APPLICATION, acting
from envelope_fields.root_keys import MayNotUnwrap

Row = MasterKeyVersion | AuditKey
_TRIES = 3


class _Changed(Exception):
    """Another process moved the row; what was recorded of it is rolled back."""


class Readiness(TextChoices):
    """What a root key can do for this process at this moment."""

    READY = "ready"
    WRAPS_ALONE = "wraps alone"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    MISCONFIGURED = "misconfigured"


@dataclass(frozen=True, slots=True)
class RootKeyCheck:
    """What came of asking a root key.

    Attributes:
        root_key: its name in the settings.
        readiness: what it can do.
        message: what is wrong, and what to do; empty where nothing is.
    """

    root_key: str
    readiness: Readiness
    message: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether this process can work with it."""
        return self.readiness in (Readiness.READY, Readiness.WRAPS_ALONE)


def check_root_keys() -> list[RootKeyCheck]:
    """Ask each root key of the settings whether it can wrap and unwrap, as KMS's DryRun does.

    For probes of readiness: a probe of liveness would restart healthy processes, which still have
    their material, while a service does not answer.

    Raises:
        ImproperlyConfigured: the settings of the package are wrong, or name no root key.
    """
    configuration().wrapping_root_key  # noqa: B018 - raises where there is none
    return [_checked(name) for name in configuration().root_keys]


def _checked(name: str) -> RootKeyCheck:
    try:
        keyring.check_root_key(name)
    except MayNotUnwrap as error:
        return RootKeyCheck(name, Readiness.WRAPS_ALONE, str(error))
    except RootKeyUnavailable as error:
        return RootKeyCheck(name, Readiness.UNAVAILABLE, str(error))
    except RootKeyRefused as error:
        return RootKeyCheck(name, Readiness.REFUSED, str(error))
    except ImproperlyConfigured as error:
        return RootKeyCheck(name, Readiness.MISCONFIGURED, str(error))
    return RootKeyCheck(name, Readiness.READY)


@dataclass(slots=True)
class Rewrapped:
    """What `rewrap_master_keys` did.

    Attributes:
        moved: the versions, and the key of the audit trail, that another root key wraps now.
        refused: those that it does not, and why; they stay as they were.
    """

    moved: list[Row] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def rewrap_master_keys(to_root_key: str, *, actor: Any = None) -> Rewrapped:
    """Have a root key wrap every master key version that another one wraps now.

    A key that names a root key of its own (`MasterKey.root_key`) is wrapped by that one, whichever
    is given here: its versions move there where another one wraps them, and stay otherwise.

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
            if _moved(row, _root_key_of(row) or to_root_key, actor):
                done.moved.append(row)
    return done


def under_other_root_keys(root_key: str) -> list[Row]:
    """Return what `rewrap_master_keys` would move: versions with material, and the trail's key."""
    using = configuration().database
    wrapped_by = Coalesce(F("master_key__root_key"), Value(root_key))
    versions = MasterKeyVersion.objects.using(using).exclude(root_key=wrapped_by)
    return [
        *versions.exclude(state=KeyState.DESTROYED).select_related("master_key").order_by("pk"),
        *AuditKey.objects.using(using).exclude(root_key=root_key).order_by("number"),
    ]


def _root_key_of(row: Row) -> str | None:
    return row.master_key.root_key if isinstance(row, MasterKeyVersion) else None


def _moved(row: Row, to_root_key: str, actor: Any) -> bool:
    """Try until the row is moved, by this process or another; return whether it was us."""
    for _ in range(_TRIES):
        if _move(row, to_root_key, actor):
            return True
        row.refresh_from_db()
        gone = isinstance(row, MasterKeyVersion) and row.state == KeyState.DESTROYED
        if gone or row.root_key == to_root_key:
            return False
    raise MasterKeyUnusable(f"Others are changing {row!r} all the time. Try again.")


def _move(row: Row, to_root_key: str, actor: Any) -> bool:
    """Move a row that is as we read it; return False where it was changed meanwhile."""
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
    columns = keyring.rewrapped(read, to_root_key)  # in no transaction: it may take long
    operation = Operation.REWRAP_MASTER_KEY
    with performing(operation, version.master_key_id, actor) as done:
        if not _swap(MasterKeyVersion.objects.using(done.using), version, read, columns):
            return False
        done.version = version
        done.record(operation, {"root_key": read.root_key}, {"root_key": to_root_key})
    return True


def _move_audit_key(key: AuditKey, to_root_key: str, actor: Any) -> None:
    principal = acting(actor)
    if principal != APPLICATION:
        raise KeyAccessDenied(
            "The key of the audit trail is moved by the application: run "
            "`python manage.py rewrap_master_keys`."
        )
    read = rows.of_audit_key(key)
    columns = keyring.rewrapped(read, to_root_key)
    with key_transaction() as using:
        # The event first, since it locks the head of the trail before this key, as all events do.
        audit.record(
            Operation.REWRAP_AUDIT_KEY,
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


@dataclass(slots=True)
class Opened:
    """What `open_master_key_versions` did.

    Attributes:
        opened: the versions that were opened for the first time.
        refused: those that were not, and why; they serve nothing yet.
    """

    opened: list[MasterKeyVersion] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def open_master_key_versions(*, actor: Any = None) -> Opened:
    """Open the versions that no process has opened yet, so that the newest becomes current.

    A process whose root key lets it wrap and not unwrap makes such versions: values are written
    under the version before until a process that may unwrap has called this.

    Args:
        actor: as for `create_master_key`; needs the right to rotate each key.
    """
    versions = MasterKeyVersion.objects.using(configuration().database)
    waiting = versions.filter(opened_at__isnull=True, state=KeyState.ENABLED)
    done = Opened()
    for version in waiting.select_related("master_key").order_by("pk"):
        with collecting(done.refused, version):
            if _opened(version, actor):
                done.opened.append(version)
    return done


def _opened(version: MasterKeyVersion, actor: Any) -> bool:
    """Open a version; return False where another process has done so."""
    read = rows.with_version_id(bytes(version.version_id), usage=None)
    wrapping_key_id = keyring.identify_version(read)  # in no transaction
    with performing(Operation.OPEN_VERSION, version.master_key_id, actor) as done:
        before, now = done.key.current_version.number, timezone.now()
        table = MasterKeyVersion.objects.using(done.using)
        waiting = table.filter(pk=version.pk, opened_at__isnull=True, state=KeyState.ENABLED)
        if not waiting.update(opened_at=now):
            return False
        if wrapping_key_id:  # known only now, by a root key that says so when it opens
            _swap(table, version, read, {"wrapping_key_id": wrapping_key_id})
        done.version, current = version, done.key.current_version.number
        done.record(
            Operation.OPEN_VERSION, {"current_version": before}, {"current_version": current}
        )
    version.opened_at = now
    return True
