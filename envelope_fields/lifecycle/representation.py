"""Keys and key versions as the admin, the API, commands and the audit trail show them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from envelope_fields.keyring import rows
from envelope_fields.keyring.rows import Wrap
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.models import AuditKey, KeyState, MasterKey, MasterKeyVersion
from envelope_fields.policy import Action

Row = MasterKey | MasterKeyVersion
FurtherWraps = Mapping[bytes, Sequence[Wrap]]

NOT_OPENED = _("not opened yet: run open_master_key_versions where the root key may decrypt")


def key_content(
    key: MasterKey, known: tuple[int, datetime] | tuple[None, None] | None = None
) -> dict[str, Any]:
    """Return a master key as plain data, without any material.

    Args:
        key: the key.
        known: the number of its current version, and when its newest one was made; both None where
            their rows are gone. None has the database asked.

    Raises:
        MasterKeyNotFound: the database was asked, and the rows are gone.
    """
    if known is None:
        current = key.current_version
        known = current.number, current.created_at
    current_version, rotated_at = known
    return {
        "id": str(key.pk),
        "alias": key.alias,
        "description": key.description,
        "state": str(key.state),
        "managed_by": str(key.managed_by),
        "application_use": key.application_use,
        "creator_type": key.creator_type,
        "creator_id": key.creator_id,
        "serves_fields": key.serves_fields,
        "rotation_period": key.rotation_period,
        "next_rotation": next_rotation_after(key, rotated_at),
        "current_version": current_version,
        "rotated_at": rotated_at,
        "root_key": key.root_key,
        "created_at": key.created_at,
        "deletion_at": key.deletion_at,
        "destroyed_at": key.destroyed_at,
    }


def key_content_with_versions(
    key: MasterKey,
    versions: Sequence[MasterKeyVersion] | None = None,
    further: FurtherWraps | None = None,
) -> dict[str, Any]:
    """Return the same with its versions; None has the database asked for these, and their wraps."""
    if versions is None:
        versions = list(key.versions.using(key._state.db).order_by("number"))
    further = further_wraps_of(versions) if further is None else further
    current = current_of(versions) or next(iter(versions), None)
    known = (current.number, versions[-1].created_at) if current else (None, None)
    content = key_content(key, known)
    listed = [version_content(each, further, is_current=each is current) for each in versions]
    return {**content, "versions": listed}


def current_of(versions: Iterable[MasterKeyVersion]) -> MasterKeyVersion | None:
    """Return the current version among versions of one key; None where it is not among them."""
    opened = (version for version in versions if version.opened_at is not None)
    return max(opened, key=lambda version: version.number, default=None)


def further_wraps_of(versions: Iterable[MasterKeyVersion]) -> FurtherWraps:
    """Return the further wraps of versions, by their ids.

    Raises:
        MasterKeyUnusable: the database could not be read.
    """
    return rows.further_wraps_of([bytes(version.version_id) for version in versions])


def version_content(
    version: MasterKeyVersion, further: FurtherWraps, *, is_current: bool
) -> dict[str, Any]:
    """Return a key version as plain data; its material is not shown, wrapped neither.

    Args:
        version: its row.
        further: what `further_wraps_of` returned for it, and maybe for others.
        is_current: whether it is the current one of its key.
    """
    return {
        "number": version.number,
        "version_id": version_id_of(version),
        "state": str(version.state),
        "current": is_current and version.opened_at is not None,
        "root_key": version.root_key,
        "wrapping_key_id": version.wrapping_key_id,
        "further_wraps": [each.content() for each in further.get(bytes(version.version_id), ())],
        "created_at": version.created_at,
        "opened_at": version.opened_at,
        "deletion_at": version.deletion_at,
        "destroyed_at": version.destroyed_at,
    }


def row_content(row: MasterKey | MasterKeyVersion | AuditKey) -> dict[str, Any]:
    """Return what names a key or version in a list of many."""
    if isinstance(row, AuditKey):
        return {"audit_key": str(row)}
    version = row if isinstance(row, MasterKeyVersion) else None
    key = row if isinstance(row, MasterKey) else row.master_key
    return {
        "id": str(key.pk),
        "alias": key.alias,
        "version": version and version.number,
        "version_id": version and version_id_of(version),
    }


def state_content(row: Row) -> dict[str, Any]:
    """Return the state of a key or version as an event has it."""
    at = row.deletion_at
    return {"state": str(row.state), **({"deletion_at": as_text(at)} if at else {})}


def version_id_of(version: MasterKeyVersion) -> str:
    """Return the id by which envelopes name a version, in hexadecimal."""
    return bytes(version.version_id).hex()


def next_rotation_after(key: MasterKey, newest: datetime | None) -> datetime | None:
    """Return when a key whose newest version is known is due; None where that is never.

    Where it has no version, it cannot be rotated.
    """
    if key.state in (KeyState.PENDING_DELETION, KeyState.DESTROYED):
        return None
    return None if newest is None else due_at(key.rotation_period, newest)


def due_at(rotation_period: int | None, newest: datetime) -> datetime | None:
    """Return when a key with this period and this newest version is to be rotated."""
    if rotation_period is None:
        return None
    try:
        return newest + timedelta(days=rotation_period)
    except OverflowError:  # a moment after which there is none: the row was altered
        return None


# In sentences


def in_words(action: str) -> str:
    """Return an operation, or the action of a grant, for users; an unknown one has its own name."""
    for known in (Operation, Action):
        if action in known._value2member_map_:
            return str(known(action).label)
    return action.replace("_", " ")


def opening_text(version: MasterKeyVersion) -> str:
    """Say what a version lacks that no process has opened; empty where it lacks nothing."""
    if version.opened_at is not None or version.state == KeyState.DESTROYED:
        return ""
    return str(NOT_OPENED)


def named(row: Model) -> str:
    """Name a key or version within a sentence."""
    return f"{'the master key ' if isinstance(row, MasterKey) else ''}{row}"


def capitalized(row: Row) -> str:
    """Name a key or version at the beginning of a sentence."""
    if isinstance(row, MasterKeyVersion):
        return f"Version {row.number} of the master key {row.master_key}"
    return f"The master key {row}"


def as_text(moment: datetime | None) -> str | None:
    """Return a time as events and JSON have it."""
    return None if moment is None else moment.isoformat(timespec="seconds")


def as_utc(moment: datetime) -> str:
    """Return a time as it is quoted: in UTC, to the second."""
    return f"{in_utc(moment):%Y-%m-%dT%H:%M:%SZ}"


def in_utc(moment: datetime) -> datetime:
    """Return a time in UTC; it is without a zone where the project has `USE_TZ = False`."""
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return moment.astimezone(UTC)


def as_json(content: Any) -> str:
    """Return JSON for scripts; times are in ISO 8601."""
    return json.dumps(content, indent=2, default=_time)


def _time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be represented in JSON")
