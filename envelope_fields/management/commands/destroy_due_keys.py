"""`manage.py destroy_due_keys`, for cron."""

from typing import Any

from envelope_fields.lifecycle import destroy_due_keys
from envelope_fields.lifecycle.representation import capitalized, row_content
from envelope_fields.management.commands._command import (
    EnvelopeCommand,
    fail_if_refused,
    refused_content,
    reported,
)


class Command(EnvelopeCommand):
    help = (
        "Destroy the master keys and versions whose waiting period is over. One that values are "
        "still under is not destroyed, and reported with exit code 1."
    )

    def handle(self, *, json: bool = False, **options: Any) -> None:
        with reported():
            done = destroy_due_keys()
        if json:
            destroyed = [row_content(row) for row in done.destroyed]
            self.write_json({"destroyed": destroyed, "refused": refused_content(done.refused)})
        else:
            lines = [f"{capitalized(row)} is destroyed." for row in done.destroyed]
            self.stdout.write("\n".join(lines) or "Nothing was destroyed.")
        fail_if_refused(done.refused)
