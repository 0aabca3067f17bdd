"""`manage.py rotate_due_keys`, for cron."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandParser

from envelope_fields.lifecycle import rotate_due_keys
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._key_json import as_json
from envelope_fields.management.commands._many_keys import (
    fail_if_refused,
    refused_content,
    row_content,
)


class Command(BaseCommand):
    help = (
        "Rotate the master keys whose rotation period is over. One that cannot be rotated, such as "
        "a disabled one, is reported with exit code 1."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *, json: bool = False, **options: Any) -> None:
        with reported():
            done = rotate_due_keys()
        if json:
            rotated = [row_content(version) for version in done.rotated]
            self.stdout.write(
                as_json({"rotated": rotated, "refused": refused_content(done.refused)})
            )
        else:
            for version in done.rotated:
                self.stdout.write(f"Rotated to {version}.")
            if not done.rotated:
                self.stdout.write("Nothing was rotated.")
        fail_if_refused(done.refused)
