"""What commands say that go through many keys: what was done, and what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management import CommandError

from envelope_fields.lifecycle import Refused
from envelope_fields.models import AuditKey, MasterKey, MasterKeyVersion


def row_content(row: MasterKey | MasterKeyVersion | AuditKey) -> dict[str, Any]:
    """Return what names a key or version in JSON."""
    if isinstance(row, AuditKey):
        return {"audit_key": str(row)}
    version = row if isinstance(row, MasterKeyVersion) else None
    key = row if isinstance(row, MasterKey) else row.master_key
    return {
        "id": str(key.pk),
        "alias": key.alias,
        "version": version and version.number,
        "version_id": version and bytes(version.version_id).hex(),
    }


def refused_content(refused: Sequence[Refused]) -> list[dict[str, Any]]:
    """Return what was refused, and why, for JSON."""
    return [{**row_content(each.row), "error": str(each)} for each in refused]


def fail_if_refused(refused: Sequence[Refused]) -> None:
    """End a command with exit code 1 where something was refused.

    Raises:
        CommandError: with each reason on a line.
    """
    if refused:
        raise CommandError("\n".join(map(str, refused)))
