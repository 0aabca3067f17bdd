"""What more than one command says."""

from __future__ import annotations

from envelope_fields.models import MasterKeyVersion


def is_current(version: MasterKeyVersion) -> str:
    """Say under which version values are written from now on."""
    version_id = bytes(version.version_id).hex()
    return f"Version {version.number} ({version_id}) is current: values are written under it."
