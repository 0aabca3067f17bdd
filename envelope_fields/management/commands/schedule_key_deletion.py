"""`manage.py schedule_key_deletion KEY`."""

from datetime import datetime
from typing import Any

from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.representation import Row, capitalized
from envelope_fields.management.commands._command import OperationCommand


class Command(OperationCommand):
    operation = Operation.SCHEDULE_DELETION

    def text(self, row: Row, result: datetime, **given: Any) -> str:
        return (
            f"{capitalized(row)} is unusable and will be destroyed by the first run of "
            f"`python manage.py destroy_due_keys` after {result:%Y-%m-%d %H:%M %Z}".rstrip()
            + "."
        )
