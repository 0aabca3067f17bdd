"""`manage.py verify_envelopes`: reads and decrypts every stored value."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import connections

from envelope_fields.census import census
from envelope_fields.management.commands._bar import progress_bar
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._key_json import as_json
from envelope_fields.rotation.scope import chosen_columns
from envelope_fields.rotation.verification import Unreadable, verify


class Command(BaseCommand):
    help = (
        "Read and decrypt every stored value, and list those that cannot be read: altered, moved "
        "from elsewhere, under a key that is unknown or disabled, or no envelopes. Nothing is "
        "changed, and no value is shown. The exit code is 1 if there are any."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--field", metavar="APP.MODEL.FIELD", action="append", default=[],
            help="values of this field (or app.Model) alone; can be given again")  # fmt: skip
        parser.add_argument(
            "--database", choices=list(connections), default="", help="values in this one alone"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(
        self, *, field: list[str], database: str = "", json: bool = False, **options: Any
    ) -> None:
        found: list[Unreadable] = []
        values = 0
        with reported(), progress_bar("verifying", wanted=not json) as bar:
            total = _total(field, database)
            for verified in verify(field, database):
                values += verified.values
                bar.show(values, max(total, values))
                found += verified.unreadable
                if not json:
                    for each in verified.unreadable:
                        self.stderr.write(_line(each))
        if json:
            unreadable = [asdict(each) for each in found]
            self.stdout.write(as_json({"values": values, "unreadable": unreadable}))
        else:
            self.stdout.write(f"Values read: {values - len(found):,} of {values:,}.")
        if found:
            raise CommandError(f"{len(found):,} stored values cannot be read.")


def _total(fields: list[str], database: str) -> int:
    wanted = {(str(column), column.database) for column in chosen_columns(fields, database)}
    rows = census(database=database or None)
    return sum(row.values for row in rows if (f"{row.model}.{row.field}", row.database) in wanted)


def _line(each: Unreadable) -> str:
    return f"{each.field} {each.row} in {each.database!r}: {each.cause}: {each.message}"
