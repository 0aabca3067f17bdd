"""`manage.py create_master_key ALIAS`."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandParser

from envelope_fields.lifecycle import create_master_key
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._key_json import as_json, key_content
from envelope_fields.management.commands._words import is_current


class Command(BaseCommand):
    help = "Make a master key with its first version, for fields that name it in key=."
    # An error elsewhere in the project must not keep anybody from their keys.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("alias", help="letters, digits and / _ . : @ -")
        parser.add_argument("--description", default="", help="what it is for, for people")
        parser.add_argument(
            "--rotation-period",
            type=int,
            metavar="DAYS",
            help="rotate_due_keys rotates it after so many days, 90 to 2560",
        )
        parser.add_argument(
            "--no-application-use",
            action="store_true",
            help="only users with a grant may encrypt and decrypt under it, not the application",
        )
        parser.add_argument("--json", action="store_true", help="print the key as JSON")

    def handle(
        self,
        *,
        alias: str,
        description: str = "",
        rotation_period: int | None = None,
        no_application_use: bool = False,
        json: bool = False,
        **options: Any,
    ) -> None:
        with reported():
            key = create_master_key(
                alias,
                description=description,
                rotation_period=rotation_period,
                application_use=not no_application_use,
            )
            said = f"Made the master key {key.alias!r}. {is_current(key.current_version)}"
            self.stdout.write(as_json(key_content(key)) if json else said)
