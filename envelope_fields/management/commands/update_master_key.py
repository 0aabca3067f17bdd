"""`manage.py update_master_key KEY`."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.lifecycle import update_master_key
from envelope_fields.management.commands._key_command import KeyCommand

_ANSWERS = {"yes": True, "no": False}


class Command(KeyCommand):
    help = "Change what a master key says of itself; what is left out stays."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--description", help="what it is for, for people")
        parser.add_argument(
            "--rotation-period",
            metavar="DAYS",
            help="rotate_due_keys rotates it after so many days, 90 to 2560; or `none`",
        )
        parser.add_argument(
            "--application-use",
            choices=_ANSWERS,
            help="whether the application itself may encrypt and decrypt under it",
        )

    def act(
        self,
        target: Any,
        *,
        description: str | None = None,
        rotation_period: str | None = None,
        application_use: str | None = None,
        **options: Any,
    ) -> str:
        changes: dict[str, Any] = {}
        if description is not None:
            changes["description"] = description
        if rotation_period is not None:
            changes["rotation_period"] = _period(rotation_period)
        if application_use is not None:
            changes["application_use"] = _ANSWERS[application_use]
        if not changes:
            raise CommandError(
                "Nothing to change: give --description, --rotation-period or --application-use."
            )
        update_master_key(target, **changes)
        return f"The master key {target} is changed."


def _period(text: str) -> int | None:
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise CommandError(
            f"--rotation-period is a number of days or `none`, not {text!r}."
        ) from None
