"""`manage.py disable_master_key KEY`."""

from typing import Any

from envelope_fields.lifecycle import Operation, seconds_until_known
from envelope_fields.management import OperationCommand


class Command(OperationCommand):
    operation = Operation.DISABLE

    def text(self, *args: Any, **given: Any) -> str:
        text = super().text(*args, **given).rstrip(".")
        return f"{text}; running processes know it within {seconds_until_known():g} s."
