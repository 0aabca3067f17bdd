"""Who did something, for people to read."""

from __future__ import annotations

from envelope_fields.models import AuditEvent, RotationRun


def actor_text(row: AuditEvent | RotationRun) -> str:
    """Return the name of whoever did it, or what they are where they have none."""
    return row.actor_name or f"{row.actor_type} {row.actor_id}".strip()
