"""`manage.py check_root_keys`, for probes of readiness."""

from dataclasses import asdict
from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.lifecycle import Readiness, check_root_keys
from envelope_fields.management import EnvelopeCommand


class Command(EnvelopeCommand):
    help = (
        "Ask each root key of the settings whether it can be used by this process now. The exit "
        "code is 1 if one cannot. For readiness: never restart a process because of it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--any",
            action="store_true",
            dest="one_is_enough",
            help="the exit code is 0 if one can be used and none refuses: for two root keys, each "
            "of which opens every master key",
        )
        super().add_arguments(parser)

    def perform(self, *, one_is_enough: bool = False, **options: Any) -> None:
        checks = check_root_keys()
        lines = [f"{each.root_key}: {each.readiness}: {each.message}" for each in checks]
        text = "\n".join(line.removesuffix(": ") for line in lines)
        self.say(lambda: list(map(asdict, checks)), text)
        failed = [each.root_key for each in checks if not each.is_ready]
        refuses = any(each.readiness == Readiness.REFUSED for each in checks)
        is_enough = one_is_enough and len(failed) < len(checks) and not refuses
        if failed and not is_enough:
            raise CommandError(f"Not ready: {', '.join(failed)}.")
