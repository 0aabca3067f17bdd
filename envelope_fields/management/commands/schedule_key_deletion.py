"""`manage.py schedule_key_deletion KEY`."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandParser

from envelope_fields.lifecycle import schedule_deletion
from envelope_fields.management.commands._key_command import KeyOrVersionCommand, capitalized


class Command(KeyOrVersionCommand):
    help = (
        "Make a master key, or a version that is not current, unusable now, and have "
        "destroy_due_keys destroy it after a waiting period. Refused while values are under it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--days", type=int, default=30, help="how long to wait, 7 to 30")
        parser.add_argument(
            "--confirm",
            metavar="TEXT",
            help="what the error asks for, where the deletion has to be confirmed: the key's name "
            "and its last use",
        )

    def act(
        self, target: Any, *, days: int = 30, confirm: str | None = None, **options: Any
    ) -> str:
        due = schedule_deletion(target, days, confirm=confirm)
        return (
            f"{capitalized(target)} is unusable and will be destroyed by the first run of "
            f"`python manage.py destroy_due_keys` after {due:%Y-%m-%d %H:%M %Z}".rstrip()
            + "."
        )
