"""`manage.py rewrap_master_keys --to NAME`."""

from typing import Any

from django.core.management import CommandParser

from envelope_fields.conf import configuration
from envelope_fields.lifecycle import rewrap_master_keys
from envelope_fields.lifecycle.moving import Destination
from envelope_fields.lifecycle.representation import row_content
from envelope_fields.lifecycle.root_keys import Row
from envelope_fields.management import ManyKeysCommand


class Command(ManyKeysCommand):
    help = (
        "Have a root key, and those that its entry names, wrap every master key version, and the "
        "key of the audit trail: what others wrap now, or an earlier version of a service's key. "
        "It can be stopped at any time and run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--to", metavar="NAME", help="the root key's name; without it, the first of ROOT_KEYS"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would be moved")
        super().add_arguments(parser)

    def perform(self, *, to: str | None = None, dry_run: bool = False, **options: Any) -> None:
        name = to or configuration().wrapping_root_key
        if dry_run:
            self._say_what_waits(name)
            return
        done = rewrap_master_keys(name)
        text = (
            f"Moved to the root key {name!r}: {len(done.moved):,}. Left under others: "
            f"{done.remaining:,}."
        )
        listed = {
            "root_key": name,
            "moved": list(map(_row_content, done.moved)),
            "remaining": done.remaining,
        }
        self.report(listed, text, done.refused)

    def _say_what_waits(self, name: str) -> None:
        destination = Destination(name)
        waiting = destination.waiting()
        text = f"To be moved to the root key {name!r}: {len(waiting):,}."
        listed = (
            {**_row_content(row), "to_root_keys": destination.root_keys_of(row)} for row in waiting
        )
        self.say(lambda: {"root_key": name, "to_move": list(listed)}, text)


def _row_content(row: Row) -> dict[str, Any]:
    """Return what names a version in a list, and what wraps it now."""
    wrap = {"root_key": row.root_key, "wrapping_key_id": row.wrapping_key_id}
    return {**row_content(row), **wrap}
