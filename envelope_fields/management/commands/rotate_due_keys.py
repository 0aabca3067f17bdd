"""`manage.py rotate_due_keys`, for cron."""

from typing import Any

from envelope_fields.lifecycle import rotate_due_keys
from envelope_fields.lifecycle.representation import row_content
from envelope_fields.management.commands._command import (
    EnvelopeCommand,
    fail_if_refused,
    refused_content,
    reported,
)


class Command(EnvelopeCommand):
    help = (
        "Rotate the master keys whose rotation period is over. One that cannot be rotated, such as "
        "a disabled one, is reported with exit code 1."
    )

    def handle(self, *, json: bool = False, **options: Any) -> None:
        with reported():
            done = rotate_due_keys()
        if json:
            rotated = [row_content(version) for version in done.rotated]
            self.write_json({"rotated": rotated, "refused": refused_content(done.refused)})
        else:
            lines = [f"Rotated to {version}." for version in done.rotated]
            self.stdout.write("\n".join(lines) or "Nothing was rotated.")
        fail_if_refused(done.refused)
