"""`manage.py rotate_due_keys`, for cron."""

from typing import Any

from envelope_fields.lifecycle import rotate_due_keys
from envelope_fields.lifecycle.representation import row_content
from envelope_fields.management import ManyKeysCommand


class Command(ManyKeysCommand):
    help = (
        "Rotate the master keys whose rotation period is over. One that cannot be rotated, such as "
        "a disabled one, is reported with exit code 1."
    )

    def perform(self, *, json: bool = False, **options: Any) -> None:
        done = rotate_due_keys()
        rotated = [row_content(version) for version in done.rotated]
        lines = [f"Rotated to {version}." for version in done.rotated] or ["Nothing was rotated."]
        self.report({"rotated": rotated}, "\n".join(lines), done.refused, json=json)
