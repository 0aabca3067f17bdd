"""`manage.py conversions`: how far the conversion of each field is."""

from typing import Any

from django.core.management import CommandParser

from envelope_fields import conversion
from envelope_fields.conversion import Standing, orphans
from envelope_fields.conversion.phases import remaining_text
from envelope_fields.conversion.representation import move_content, standing_content
from envelope_fields.lifecycle.representation import as_utc
from envelope_fields.management import EnvelopeCommand
from envelope_fields.management.column_moves import move_line


class Command(EnvelopeCommand):
    help = "Show how far the conversion of each field is, and how many values are left."

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_mutually_exclusive_group().add_argument
        add("--rename", metavar="OLD=NEW",
            help="give what is known of a conversion the present name of its field")  # fmt: skip
        add("--forget", metavar="LABEL", help="drop what is known of one whose field is gone")
        super().add_arguments(parser)

    def perform(self, *, json: bool = False, **options: Any) -> None:
        if options["rename"]:
            old, _, new = options["rename"].partition("=")
            orphans.rename(old, new)
        if options["forget"]:
            orphans.forget(options["forget"])
        self._show(json=json)

    def _show(self, *, json: bool) -> None:
        moving, found = conversion.moving_fields(), conversion.standings()
        if json:
            self.write_json([*map(move_content, moving), *map(standing_content, found)])
        elif not moving and not found:
            self.stdout.write("No field is converted.")
        else:
            self.stdout.write("\n".join([*map(move_line, moving), *map(_line, found)]))


def _line(found: Standing) -> str:
    remaining = f"{remaining_text(found)} are left" if found.remaining else "nothing is left"
    since = f" since {as_utc(found.since)}" if found.since else ""
    return f"{found.field}: {found.phase.label}{since}; {remaining}, {found.envelopes:,} envelopes."
