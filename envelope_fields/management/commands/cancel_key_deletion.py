"""`manage.py cancel_key_deletion KEY`."""

from typing import Any

from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.representation import Row, capitalized
from envelope_fields.management.commands._command import OperationCommand


class Command(OperationCommand):
    operation = Operation.CANCEL_DELETION

    def text(self, row: Row, result: Any, **given: Any) -> str:
        return (
            f"{capitalized(row)} is not going to be deleted. It is disabled: "
            "`python manage.py enable_master_key` makes it usable again."
        )
