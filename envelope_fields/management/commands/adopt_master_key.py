"""`manage.py adopt_master_key ALIAS`: also lists the grants on the key, which stay."""

from typing import Any

from envelope_fields.grants import list_grants
from envelope_fields.grants.grantees import grantee_text
from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.representation import Row, capitalized
from envelope_fields.management.commands._command import OperationCommand
from envelope_fields.models import MasterKey


class Command(OperationCommand):
    operation = Operation.ADOPT

    def text(self, row: Row, result: Any, **given: Any) -> str:
        grants = list_grants(row) if isinstance(row, MasterKey) else []
        lines = [
            f"Granted to {grantee_text(each)}: {', '.join(each.grant.actions)}." for each in grants
        ]
        return "\n".join([f"{capitalized(row)} serves the fields that name it.", *lines])
