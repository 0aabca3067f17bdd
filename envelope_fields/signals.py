"""Django signals of this package."""

from django.dispatch import Signal

# Sent when an audit event is committed, with `event`, an `AuditEvent`. A receiver that raises is
# logged, and the other receivers are called all the same.
audit_event = Signal()
