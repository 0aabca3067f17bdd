"""`manage.py move_alias KEY ALIAS`."""

from typing import Any

from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.representation import Row
from envelope_fields.management.commands._command import OperationCommand


class Command(OperationCommand):
    operation = Operation.MOVE_ALIAS

    def text(self, row: Row, result: Any, **given: Any) -> str:
        return f"The master key {row.pk} has the alias {given['alias']!r}."
