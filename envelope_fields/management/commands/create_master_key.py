"""`manage.py create_master_key ALIAS`."""

from typing import Any

from django.core.management import CommandParser

from envelope_fields.lifecycle import Operation, create_master_key
from envelope_fields.lifecycle.representation import key_content_with_versions
from envelope_fields.management import EnvelopeCommand, current_text


class Command(EnvelopeCommand):
    help = Operation.CREATE.description
    prints = "the key as JSON"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("alias", help="letters, digits and / _ . : @ -")
        parser.add_argument("--description", default="", help="what it is for, for users")
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
        super().add_arguments(parser)

    def perform(self, *, alias: str, **options: Any) -> None:
        key = create_master_key(
            alias,
            description=options["description"],
            rotation_period=options["rotation_period"],
            application_use=not options["no_application_use"],
        )
        text = f"Made the master key {key.alias!r}. {current_text(key.current_version)}"
        self.say(lambda: key_content_with_versions(key), text)
