"""`manage.py rotate_master_key KEY`."""

from typing import Any

from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.representation import Row
from envelope_fields.management.commands._command import OperationCommand, current_text
from envelope_fields.models import MasterKeyVersion


class Command(OperationCommand):
    operation = Operation.ROTATE

    def text(self, row: Row, result: MasterKeyVersion, **given: Any) -> str:
        return f"Rotated the master key {str(row)!r}. {current_text(result)}"
