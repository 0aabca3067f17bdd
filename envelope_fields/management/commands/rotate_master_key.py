"""`manage.py rotate_master_key KEY`."""

from typing import Any

from envelope_fields.lifecycle import Operation
from envelope_fields.management import OperationCommand, current_text


class Command(OperationCommand):
    operation = Operation.ROTATE

    def text(self, row: Any, result: Any, **given: Any) -> str:
        return f"Rotated the master key {str(row)!r}. {current_text(result)}"
