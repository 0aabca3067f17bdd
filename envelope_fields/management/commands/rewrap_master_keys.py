"""`manage.py rewrap_master_keys --to NAME`."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandParser

from envelope_fields.conf import configuration
from envelope_fields.lifecycle import rewrap_master_keys, under_other_root_keys
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._key_json import as_json
from envelope_fields.management.commands._many_keys import (
    fail_if_refused,
    refused_content,
    row_content,
)


class Command(BaseCommand):
    help = (
        "Have a root key wrap every master key version that another one wraps now, and the key of "
        "the audit trail. It can be stopped at any time and run again."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--to", metavar="NAME", help="the root key's name; without it, the first of ROOT_KEYS"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be moved")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(
        self, *, to: str | None = None, dry_run: bool = False, json: bool = False, **options: Any
    ) -> None:
        with reported():
            name = to or configuration().wrapping_root_key
            if dry_run:
                found = [row_content(row) for row in under_other_root_keys(name)]
                self.stdout.write(
                    as_json({"root_key": name, "to_move": found})
                    if json
                    else f"To be moved to the root key {name!r}: {len(found):,}."
                )
                return
            done = rewrap_master_keys(name)
            left = len(under_other_root_keys(name))
        if json:
            moved = [row_content(row) for row in done.moved]
            refused = refused_content(done.refused)
            self.stdout.write(
                as_json({"root_key": name, "moved": moved, "refused": refused, "left": left})
            )
        else:
            self.stdout.write(
                f"Moved to the root key {name!r}: {len(done.moved):,}. Left under others: {left:,}."
            )
        fail_if_refused(done.refused)
