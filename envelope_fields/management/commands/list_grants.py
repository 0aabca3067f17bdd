"""`manage.py list_grants`: a table for people, or JSON for programs."""

from typing import Any

from django.core.management import CommandParser

from envelope_fields.grants import ListedGrant, grantees, list_grants
from envelope_fields.lifecycle.keys import named_key
from envelope_fields.management import GrantCommand


class Command(GrantCommand):
    help = "List who may do what with master keys."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--key", help="those on this master key alone, by its alias or id")
        self.add_grantee(parser, required=False)
        super().add_arguments(parser)

    def perform(self, *, key: str | None = None, **options: Any) -> None:
        of_key = None if key is None else named_key(key)
        found = list_grants(of_key, self.grantee(**options))
        text = "\n".join(map(_text, found)) or "There are no grants."
        self.say(lambda: list(map(grantees.grant_content, found)), text)


def _text(listed: ListedGrant) -> str:
    grant = listed.grant
    where = f" in {grant.context}" if grant.context else ""
    void = f" (void: {listed.void})" if listed.void else ""
    until = GrantCommand.until(grant.expires_at)
    what = f"{grantees.grantee_text(listed)}: {', '.join(grant.actions)}{where}{until}"
    return f"{grant.pk}  {grant.master_key}  {what}{void}"
