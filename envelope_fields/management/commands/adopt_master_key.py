"""`manage.py adopt_master_key ALIAS`: also lists the grants on the key, which stay."""

from typing import Any

from envelope_fields.grants import grantees, list_grants
from envelope_fields.lifecycle import Operation
from envelope_fields.management import OperationCommand


class Command(OperationCommand):
    operation = Operation.ADOPT
    outcome = "{name} serves the fields that name it."

    def text(self, row: Any, result: Any, **given: Any) -> str:
        lines = [
            f"Granted to {grantees.grantee_text(each)}: {', '.join(each.grant.actions)}."
            for each in list_grants(row)
        ]
        return "\n".join([super().text(row, result, **given), *lines])
