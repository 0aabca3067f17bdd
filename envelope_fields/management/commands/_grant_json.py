"""Grants as JSON, for scripts."""

from __future__ import annotations

from typing import Any

from envelope_fields.grants import ListedGrant


def grant_content(listed: ListedGrant) -> dict[str, Any]:
    """Return what is known of a grant, and of whom it names."""
    grant = listed.grant
    return {
        "grant": grant.pk,
        "key": grant.master_key.alias,
        "key_id": str(grant.master_key_id),
        "principal_type": grant.principal_type,
        "principal_id": grant.principal_id,
        "name": listed.name,
        "actions": grant.actions,
        "context": grant.context,
        "expires_at": grant.expires_at,
        "void": listed.void,
    }
