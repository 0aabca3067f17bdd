"""`manage.py destroy_due_keys`, for cron."""

from typing import Any

from envelope_fields.lifecycle import destroy_due_keys
from envelope_fields.management import ManyKeysCommand


class Command(ManyKeysCommand):
    help = (
        "Destroy the master keys and versions whose waiting period is over. One that values are "
        "still under is not destroyed, and reported with exit code 1."
    )

    def perform(self, **options: Any) -> None:
        self.report_each(destroy_due_keys(), "destroyed", "{name} is destroyed.")
