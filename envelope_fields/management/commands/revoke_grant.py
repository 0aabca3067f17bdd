"""`manage.py revoke_grant NUMBER`."""

from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.grants import grantees, revoke
from envelope_fields.management import EnvelopeCommand


class Command(EnvelopeCommand):
    help = "Revoke a grant on a master key. `list_grants` has the numbers."
    prints = "what it was as JSON"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("grant", type=int, metavar="NUMBER", help="the number of the grant")
        parser.add_argument(
            "--override",
            metavar="NAME",
            help="the key's name, to take away the last grant that can manage its grants",
        )
        super().add_arguments(parser)

    def perform(self, *, grant: int, override: str | None = None, **options: Any) -> None:
        row = grantees.stored_grants().filter(pk=grant).first()
        if row is None:
            raise CommandError(f"There is no grant {grant}. `list_grants` lists them.")
        (listed,) = grantees.described([row])
        revoke(row, override=override)
        text = f"Revoked grant {grant} on {str(row.master_key)!r}."
        self.say(lambda: grantees.grant_content(listed), text)
