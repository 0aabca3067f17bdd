"""`manage.py disable_master_key KEY`."""

from typing import Any

from envelope_fields.lifecycle import Operation, seconds_until_known
from envelope_fields.lifecycle.representation import Row, capitalized
from envelope_fields.management.commands._command import OperationCommand


class Command(OperationCommand):
    operation = Operation.DISABLE

    def text(self, row: Row, result: Any, **given: Any) -> str:
        seconds = seconds_until_known()
        return f"{capitalized(row)} is disabled; running processes know it within {seconds:g} s."
