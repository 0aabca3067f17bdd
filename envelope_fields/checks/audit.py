"""The audit trail against the triggers that keep it append-only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db import connections

from envelope_fields.audit import triggers
from envelope_fields.checks.keys import keys_database
from envelope_fields.models import AuditEvent


def check_triggers(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Look for the triggers on the table of events."""
    using = keys_database(databases, AuditEvent)
    if using is None or triggers.are_there(connections[using]):
        return []
    return [
        Warning(
            f"The table of audit events in the database {using!r} lacks the triggers that keep it "
            "append-only.",
            hint=(
                "Have a role that may make triggers run `python manage.py migrate`, which makes "
                "what is missing. On MariaDB with a binary log, the server also has to allow it: "
                "log_bin_trust_function_creators."
            ),
            id="envelope_fields.W060",
        )
    ]
