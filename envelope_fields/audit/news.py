"""Telling of an event once it is committed: the logger `envelope_fields.audit`, and a signal.

Each line has the head of the trail as it was then. Kept where the database's writers cannot reach,
lines prove what the trail was: `verify_audit_trail --head`.
"""

from __future__ import annotations

import logging
from typing import Any

from envelope_fields.models import AuditEvent, AuditOutcome
from envelope_fields.signals import audit_event

logger = logging.getLogger("envelope_fields.audit")


def tell(event: AuditEvent) -> None:
    """Log an event, and send the signal."""
    told = _fields(event)
    level = logging.INFO if event.outcome == AuditOutcome.DONE else logging.WARNING
    logger.log(
        level,
        "audit event %d: %s %s, key %r, by %s %r; head %s",
        event.number, event.action, event.outcome, event.key_alias or told["audit_key_id"],
        event.actor_type, event.actor_name or event.actor_id, told["audit_head"],
        extra=told,
    )  # fmt: skip
    audit_event.send_robust(sender=AuditEvent, event=event)


def _fields(event: AuditEvent) -> dict[str, Any]:
    """Return what a log record has for a SIEM; no column of an event is secret."""
    return {
        "audit_number": event.number,
        "audit_occurred_at": event.occurred_at.isoformat(),
        "audit_action": event.action,
        "audit_outcome": str(event.outcome),
        "audit_actor_type": event.actor_type,
        "audit_actor_id": event.actor_id,
        "audit_actor_name": event.actor_name,
        "audit_key_id": str(event.key_id or ""),
        "audit_key_alias": event.key_alias,
        "audit_version_number": event.version_number,
        "audit_before": event.before,
        "audit_after": event.after,
        "audit_address": event.address,
        "audit_request_id": event.request_id,
        "audit_head": f"{event.number}:{bytes(event.mac).hex()}",
    }
