"""`manage.py destroy_due_keys`, for cron."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandParser

from envelope_fields.lifecycle import destroy_due_keys
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._key_command import capitalized
from envelope_fields.management.commands._key_json import as_json
from envelope_fields.management.commands._many_keys import (
    fail_if_refused,
    refused_content,
    row_content,
)


class Command(BaseCommand):
    help = (
        "Destroy the master keys and versions whose waiting period is over. One that values are "
        "still under is not destroyed, and reported with exit code 1."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *, json: bool = False, **options: Any) -> None:
        with reported():
            done = destroy_due_keys()
        if json:
            destroyed = [row_content(row) for row in done.destroyed]
            self.stdout.write(
                as_json({"destroyed": destroyed, "refused": refused_content(done.refused)})
            )
        else:
            for row in done.destroyed:
                self.stdout.write(f"{capitalized(row)} is destroyed.")
            if not done.destroyed:
                self.stdout.write("Nothing was destroyed.")
        fail_if_refused(done.refused)
