"""`manage.py update_master_key KEY`."""

from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.lifecycle import Operation
from envelope_fields.management import OperationCommand

_ANSWERS = {"yes": True, "no": False}


class Command(OperationCommand):
    operation = Operation.UPDATE

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--description", help="what it is for, for users")
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

    def given(self, **options: Any) -> dict[str, Any]:
        names = ("description", "rotation_period", "application_use")
        changes = {name: options[name] for name in names if options.get(name) is not None}
        if not changes:
            raise CommandError(
                "Nothing to change: give --description, --rotation-period or --application-use."
            )
        if "rotation_period" in changes:
            changes["rotation_period"] = _period(changes["rotation_period"])
        if "application_use" in changes:
            changes["application_use"] = _ANSWERS[changes["application_use"]]
        return changes


def _period(text: str) -> int | None:
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise CommandError(
            f"--rotation-period is a number of days or `none`, not {text!r}."
        ) from None
