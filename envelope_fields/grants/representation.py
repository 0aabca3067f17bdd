"""Grants as the API, commands and the audit trail show them."""

from __future__ import annotations

from typing import Any

from envelope_fields.grants.listing import ListedGrant
from envelope_fields.lifecycle.representation import as_text
from envelope_fields.models import KeyGrant


def grant_content(listed: ListedGrant) -> dict[str, Any]:
    """Return a grant as plain data, and what is known of its grantee."""
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


def grantee_text(listed: ListedGrant) -> str:
    """Name the grantee of a grant, with what they are."""
    return f"{listed.grant.principal_type} {listed.name or listed.grant.principal_id}"


def event_content(grant: KeyGrant, name: str) -> dict[str, Any]:
    """Return a grant as an event of the audit trail has it.

    Args:
        grant: its row.
        name: of the grantee, for users; empty where the grantee is deleted.
    """
    grantee = f"{grant.principal_type} {grant.principal_id}"
    return {
        "grant": grant.pk,
        "principal": f"{grantee} ({name})" if name else grantee,
        "actions": grant.actions,
        "context": grant.context,
        "expires_at": as_text(grant.expires_at),
    }
