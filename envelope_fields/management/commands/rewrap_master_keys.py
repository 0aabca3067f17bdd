"""`manage.py rewrap_master_keys --to NAME`."""

from typing import Any

from django.core.management import CommandParser

from envelope_fields.conf import configuration
from envelope_fields.lifecycle import rewrap_master_keys, under_other_root_keys
from envelope_fields.lifecycle.representation import row_content
from envelope_fields.management.commands._command import (
    EnvelopeCommand,
    fail_if_refused,
    refused_content,
    reported,
)


class Command(EnvelopeCommand):
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
        super().add_arguments(parser)

    def handle(
        self, *, to: str | None = None, dry_run: bool = False, json: bool = False, **options: Any
    ) -> None:
        with reported():
            name = to or configuration().wrapping_root_key
            if dry_run:
                found = [row_content(row) for row in under_other_root_keys(name)]
                if json:
                    self.write_json({"root_key": name, "to_move": found})
                else:
                    self.stdout.write(f"To be moved to the root key {name!r}: {len(found):,}.")
                return
            done = rewrap_master_keys(name)
            remaining = len(under_other_root_keys(name))
        if json:
            moved = [row_content(row) for row in done.moved]
            refused = refused_content(done.refused)
            self.write_json(
                {"root_key": name, "moved": moved, "refused": refused, "remaining": remaining}
            )
        else:
            self.stdout.write(
                f"Moved to the root key {name!r}: {len(done.moved):,}. "
                f"Left under others: {remaining:,}."
            )
        fail_if_refused(done.refused)
