"""`manage.py revoke_grant NUMBER`."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from envelope_fields.conf import configuration
from envelope_fields.grants import revoke
from envelope_fields.grants.representation import described
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._grant_json import grant_content
from envelope_fields.management.commands._key_json import as_json
from envelope_fields.models import KeyGrant


class Command(BaseCommand):
    help = "Take a grant on a master key away. `list_grants` has the numbers."
    # An error elsewhere in the project must not keep anybody from their keys.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("grant", type=int, metavar="NUMBER", help="the number of the grant")
        parser.add_argument(
            "--override",
            metavar="NAME",
            help="the key's name, to take away the last grant that can manage its grants",
        )
        parser.add_argument("--json", action="store_true", help="print what it was as JSON")

    def handle(
        self, *, grant: int, override: str | None = None, json: bool = False, **options: Any
    ) -> None:
        with reported():
            rows = KeyGrant.objects.using(configuration().database)
            row = rows.select_related("master_key").filter(pk=grant).first()
            if row is None:
                raise CommandError(f"There is no grant {grant}. `list_grants` lists them.")
            (listed,) = described([row])
            revoke(row, override=override)
        self.stdout.write(
            as_json(grant_content(listed))
            if json
            else f"Revoked grant {grant} on {str(row.master_key)!r}."
        )
