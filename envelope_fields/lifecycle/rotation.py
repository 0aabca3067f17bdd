"""New versions of master keys: on demand, and when their period is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Max
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.lifecycle.acts import Doing, doing
from envelope_fields.lifecycle.creation import new_version
from envelope_fields.lifecycle.failures import Refused, collecting
from envelope_fields.lifecycle.locking import Key, found_key
from envelope_fields.lifecycle.operations import Operation, performs
from envelope_fields.lifecycle.representation import due_at, next_rotation_after
from envelope_fields.lifecycle.transitions import state_after
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion


@dataclass(slots=True)
class Rotations:
    """What `rotate_due_keys` did.

    Attributes:
        rotated: the new versions.
        refused: the keys that were due and are not rotated, and why: disabled, or failed.
    """

    rotated: list[MasterKeyVersion] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@performs(Operation.ROTATE)
def rotate_master_key(key: Key, *, actor: Any = None) -> MasterKeyVersion:
    """Make a new version of a master key, which is current from now on (KMS: RotateKeyOnDemand).

    Values stay under their versions and can be read as before.

    Args:
        key: a master key, its id or its alias.
        actor: as for `create_master_key`.

    Raises:
        MasterKeyNotFound: there is no such key.
        MasterKeyUnusable: it is not enabled.
        KeyAccessDenied: the actor may not.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
    """
    if isinstance(key, MasterKeyVersion):
        raise TypeError("A version is not rotated; its master key is.")
    with doing(Operation.ROTATE, key, actor) as done:
        return _rotate(done)


def next_rotation(key: Key) -> datetime | None:
    """Return when `rotate_due_keys` rotates a key: its period after its newest version.

    None means never: it has no period, or its deletion is under way. A disabled key is due as
    others are, and not rotated until it is enabled.

    Raises:
        MasterKeyNotFound: there is no such key.
    """
    row = found_key(configuration().database, key)
    return next_rotation_after(row, row.current_version.created_at)


def rotate_due_keys(*, actor: Any = None) -> Rotations:
    """Rotate every key whose period is over (KMS: automatic key rotation); for cron.

    Each is rotated in a transaction of its own, and once, however many do this at once. One that
    fails keeps none of the others from it.

    Args:
        actor: as for `create_master_key`.
    """
    done = Rotations()
    for key in _with_periods():
        if not _is_due(key, key.newest):  # type: ignore[attr-defined]  # annotated
            continue
        with collecting(done.refused, key):
            version = _rotate_if_due(key, actor)
            if version is not None:
                done.rotated.append(version)
    return done


def _rotate_if_due(key: MasterKey, actor: Any) -> MasterKeyVersion | None:
    with doing(Operation.ROTATE, key, actor) as done:
        # Another operator may have been faster.
        due = _is_due(done.key, done.key.current_version.created_at)
        return _rotate(done) if due else None


def _rotate(done: Doing) -> MasterKeyVersion:
    state_after(Operation.ROTATE, done.key)
    newest = done.key.versions.using(done.using).aggregate(Max("number"))["number__max"] or 0
    version = new_version(done.key, newest + 1)
    version.save(using=done.using, force_insert=True)
    done.record(Operation.ROTATE, {"current_version": newest}, {"current_version": version.number})
    return version


def _with_periods() -> list[MasterKey]:
    keys = MasterKey.objects.using(configuration().database).filter(
        rotation_period__isnull=False, state__in=(KeyState.ENABLED, KeyState.DISABLED)
    )
    return list(keys.annotate(newest=Max("versions__created_at")).order_by("alias", "pk"))


def _is_due(key: MasterKey, newest: datetime) -> bool:
    due = due_at(key.rotation_period, newest)
    return due is not None and due <= timezone.now()
