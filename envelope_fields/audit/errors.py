"""What is wrong with a trail."""

from __future__ import annotations

from envelope_fields.exceptions import EnvelopeError


class AuditTrailBroken(EnvelopeError):
    """The audit trail cannot be continued: its key or its last event is not what it was."""
