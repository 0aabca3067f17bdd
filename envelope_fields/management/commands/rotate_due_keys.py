"""`manage.py rotate_due_keys`, for cron."""

from typing import Any

from envelope_fields.lifecycle import rotate_due_keys
from envelope_fields.management import ManyKeysCommand


class Command(ManyKeysCommand):
    help = (
        "Rotate the master keys whose rotation period is over. One that cannot be rotated, such as "
        "a disabled one, is reported with exit code 1."
    )

    def perform(self, **options: Any) -> None:
        self.report_each(rotate_due_keys(), "rotated", "Rotated to {row}.")
