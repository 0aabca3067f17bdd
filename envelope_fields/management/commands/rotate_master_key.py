"""`manage.py rotate_master_key ALIAS`."""

from __future__ import annotations

from typing import Any

from django.core.management import BaseCommand, CommandParser

from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._words import is_current


class Command(BaseCommand):
    help = (
        "Make a new version of a master key. What is written from now on is written under it; "
        "stored values stay under their versions and can be read as before."
    )
    # An error elsewhere in the project must not keep anybody from their keys.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("alias", help="the master key's alias")

    def handle(self, *, alias: str, **options: Any) -> None:
        with reported():
            version = rotate_master_key(alias)
        self.stdout.write(f"Rotated the master key {alias!r}. {is_current(version)}")
