"""`manage.py destroy_due_keys`, for cron."""

from typing import Any

from envelope_fields.lifecycle import destroy_due_keys
from envelope_fields.lifecycle.representation import capitalized, row_content
from envelope_fields.management import ManyKeysCommand


class Command(ManyKeysCommand):
    help = (
        "Destroy the master keys and versions whose waiting period is over. One that values are "
        "still under is not destroyed, and reported with exit code 1."
    )

    def perform(self, *, json: bool = False, **options: Any) -> None:
        done = destroy_due_keys()
        destroyed = [row_content(row) for row in done.destroyed]
        lines = [f"{capitalized(row)} is destroyed." for row in done.destroyed]
        text = "\n".join(lines) or "Nothing was destroyed."
        self.report({"destroyed": destroyed}, text, done.refused, json=json)
