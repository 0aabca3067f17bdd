"""`manage.py list_grants`: a table for people, or JSON for programs."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandParser

from envelope_fields.grants import ListedGrant, list_grants
from envelope_fields.management.commands import _holders
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._grant_json import grant_content
from envelope_fields.management.commands._key_command import named_key
from envelope_fields.management.commands._key_json import as_json


class Command(BaseCommand):
    help = "List who may do what with master keys."
    # It is most wanted where something is wrong.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--key", help="those on this master key alone, by its alias or id")
        _holders.add_arguments(parser, required=False)
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(
        self,
        *,
        key: str | None = None,
        user: str | None = None,
        group: str | None = None,
        json: bool = False,
        **options: Any,
    ) -> None:
        with reported():
            of_key = None if key is None else named_key(key)
            found = list_grants(of_key, _holders.named(user, group))
        if json:
            self.stdout.write(as_json([grant_content(listed) for listed in found]))
        elif not found:
            self.stdout.write("There are no grants.")
        else:
            self.stdout.write("\n".join(map(_as_text, found)))


def _as_text(listed: ListedGrant) -> str:
    grant = listed.grant
    who = f"{grant.principal_type} {listed.name or grant.principal_id}"
    where = f" in {grant.context}" if grant.context else ""
    until = _holders.until(grant.expires_at)
    void = f" (void: {listed.void})" if listed.void else ""
    return f"{grant.pk}  {grant.master_key}  {who}: {', '.join(grant.actions)}{where}{until}{void}"
