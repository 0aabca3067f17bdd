"""Keys as JSON, for scripts: what they are and what state they are in, and no material."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from envelope_fields.lifecycle.keys import current_of
from envelope_fields.lifecycle.representation import next_rotation_after
from envelope_fields.models import MasterKey, MasterKeyVersion


def as_json(content: Any) -> str:
    """Return JSON text; moments are in ISO 8601."""
    return json.dumps(content, indent=2, default=_moment)


def key_content(
    key: MasterKey, versions: Sequence[MasterKeyVersion] | None = None
) -> dict[str, Any]:
    """Return what is known of a master key and its versions.

    Args:
        key: the row of the key.
        versions: its versions by their numbers; None has the database asked.
    """
    if versions is None:
        versions = list(key.versions.using(key._state.db).order_by("number"))
    current = current_of(versions)
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
        "next_rotation": next_rotation_after(key, versions[-1].created_at),
        "created_at": key.created_at,
        "deletion_at": key.deletion_at,
        "destroyed_at": key.destroyed_at,
        "versions": [
            version_content(version, is_current=version is current) for version in versions
        ],
    }


def version_content(version: MasterKeyVersion, *, is_current: bool) -> dict[str, Any]:
    """Return what is known of a key version."""
    return {
        "number": version.number,
        "version_id": bytes(version.version_id).hex(),
        "state": str(version.state),
        "current": is_current,
        "root_key": version.root_key,
        "created_at": version.created_at,
        "deletion_at": version.deletion_at,
        "destroyed_at": version.destroyed_at,
    }


def _moment(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not for JSON")
