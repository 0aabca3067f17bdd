"""`manage.py rewrap_master_keys --to NAME`."""

from typing import Any

from django.core.management import CommandParser

from envelope_fields.conf import configuration
from envelope_fields.lifecycle import rewrap_master_keys, under_other_root_keys
from envelope_fields.lifecycle.representation import row_content
from envelope_fields.management import ManyKeysCommand


class Command(ManyKeysCommand):
    help = (
        "Have a root key wrap every master key version that another one wraps now, and the key of "
        "the audit trail. It can be stopped at any time and run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--to", metavar="NAME", help="the root key's name; without it, the first of ROOT_KEYS"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be moved")
        super().add_arguments(parser)

    def perform(
        self, *, to: str | None = None, dry_run: bool = False, json: bool = False, **options: Any
    ) -> None:
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
        content = {
            "root_key": name,
            "moved": [row_content(row) for row in done.moved],
            "remaining": remaining,
        }
        text = (
            f"Moved to the root key {name!r}: {len(done.moved):,}. Left under others: "
            f"{remaining:,}."
        )
        self.report(content, text, done.refused, json=json)
