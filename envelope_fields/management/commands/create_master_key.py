"""`manage.py create_master_key ALIAS`."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandParser

from envelope_fields.lifecycle import create_master_key
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._words import is_current


class Command(BaseCommand):
    help = "Make a master key with its first version, for fields that name it in key=."
    # An error elsewhere in the project must not keep anybody from their keys.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("alias", help="letters, digits and / _ . : @ -")
        parser.add_argument("--description", default="", help="what it is for, for people")

    def handle(self, *, alias: str, description: str = "", **options: Any) -> None:
        with reported():
            key = create_master_key(alias, description=description)
            version = key.current_version
        self.stdout.write(f"Made the master key {key.alias!r}. {is_current(version)}")
