"""`manage.py move_alias KEY ALIAS`."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandParser

from envelope_fields.lifecycle import move_alias
from envelope_fields.management.commands._key_command import KeyCommand


class Command(KeyCommand):
    help = (
        "Give an alias to a master key: what names the alias is written under this key from now "
        "on. A key that had it keeps none, and is named by its id."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("alias", metavar="ALIAS", help="the alias that it is to have")

    def act(self, target: Any, *, alias: str = "", **options: Any) -> str:
        move_alias(alias, target)
        return f"The master key {target.pk} has the alias {alias!r}."
