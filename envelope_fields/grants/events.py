"""What the audit trail says of a grant."""

from __future__ import annotations

from typing import Any

from envelope_fields.models import KeyGrant


def as_event(grant: KeyGrant, holder: str) -> dict[str, Any]:
    """Return a grant as an event has it.

    Args:
        grant: its row.
        holder: the name of whom it names, for people; empty where they are gone.
    """
    named = f"{grant.principal_type} {grant.principal_id}"
    end = grant.expires_at
    return {
        "grant": grant.pk,
        "principal": f"{named} ({holder})" if holder else named,
        "actions": grant.actions,
        "context": grant.context,
        "expires_at": end and end.isoformat(timespec="seconds"),
    }
