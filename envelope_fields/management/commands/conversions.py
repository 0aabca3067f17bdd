"""`manage.py conversions`: how far the conversion of each field is."""

from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.conversion import phases
from envelope_fields.conversion.column_phases import moving_fields
from envelope_fields.conversion.phases import Standing
from envelope_fields.conversion.representation import move_content, numbers_text, standing_content
from envelope_fields.lifecycle.representation import as_utc
from envelope_fields.management import EnvelopeCommand
from envelope_fields.management.terminal import move_line


class Command(EnvelopeCommand):
    help = "Show how far the conversion of each field is, and how many values are left."

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_mutually_exclusive_group().add_argument
        add("--rename", metavar="OLD=NEW",
            help="give what is known of a conversion the present name of its field")  # fmt: skip
        add("--forget", metavar="LABEL", help="drop what is known of one whose field is gone")
        super().add_arguments(parser)

    def perform(self, **options: Any) -> None:
        if options["rename"]:
            old, mark, new = options["rename"].partition("=")
            if not mark:
                raise CommandError(f"--rename takes OLD=NEW, not {old!r}.")
            phases.rename(old, new)
        if options["forget"]:
            phases.forget(options["forget"])
        moved = list(map(move_content, moving_fields()))
        found = phases.standings()
        text = "\n".join([*map(move_line, moved), *map(_line, found)]) or "No field is converted."
        self.say(lambda: [*moved, *map(standing_content, found)], text)


def _line(found: Standing) -> str:
    since = f" since {as_utc(found.since)}" if found.since else ""
    return f"{found.field}: {found.phase.label}{since}; {numbers_text(standing_content(found))}."
