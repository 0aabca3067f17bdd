"""Events of the audit trail as the admin, the API and commands show them."""

from typing import Any, Protocol

from envelope_fields.models import AuditEvent


class Acted(Protocol):
    """A row that names who did something."""

    actor_type: Any
    actor_id: Any
    actor_name: Any


def event_content(event: AuditEvent) -> dict[str, Any]:
    """Return an event as plain data; `head` is what `verify_audit_trail --head` takes."""
    return {
        "number": event.number,
        "occurred_at": event.occurred_at,
        "action": event.action,
        "outcome": str(event.outcome),
        "actor_type": event.actor_type,
        "actor_id": event.actor_id,
        "actor_name": event.actor_name,
        "key_id": event.key_id,
        "key_alias": event.key_alias,
        "version_number": event.version_number,
        "before": event.before,
        "after": event.after,
        "address": event.address,
        "request_id": event.request_id,
        "head": head_text(event),
    }


def head_text(event: AuditEvent) -> str:
    """Return an event as the head of a trail that ends with it."""
    return f"{event.number}:{bytes(event.mac).hex()}"


def actor_text(row: Acted) -> str:
    """Return the name of the user who did something, or their type and id where they have none."""
    return str(row.actor_name) or f"{row.actor_type} {row.actor_id}".strip()
