"""`manage.py verify_envelopes`: reads and decrypts every stored value."""

from dataclasses import asdict
from json import dumps
from typing import Any

from django.core.management import CommandError, CommandParser
from django.core.management.base import OutputWrapper
from django.db import connections

from envelope_fields.census import census
from envelope_fields.management import EnvelopeCommand
from envelope_fields.management.terminal import in_schema, progress_bar
from envelope_fields.rotation.scope import declared_columns
from envelope_fields.rotation.verification import Unreadable, verify


class Command(EnvelopeCommand):
    help = (
        "Read and decrypt every stored value, and list those that cannot be read: altered, moved "
        "from elsewhere, under a key that is unknown or disabled, or no envelopes. Nothing is "
        "changed, and no value is shown. The exit code is 1 if there are any."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--field", metavar="APP.MODEL.FIELD", action="append", default=[],
            help="values of this field (or app.Model) alone; repeatable")  # fmt: skip
        parser.add_argument(
            "--database", choices=list(connections), default="", help="values in this one alone"
        )
        super().add_arguments(parser)

    def perform(self, *, field: list[str], database: str = "", **options: Any) -> None:
        report = (_InJson if self.json else _InText)(self.stdout, self.stderr)
        values = unreadable = 0
        with progress_bar("verifying", wanted=not self.json) as bar:
            total = _total(field, database)
            for verified in verify(field, database):
                values += verified.values
                unreadable += len(verified.unreadable)
                bar.show(values, max(total, values))
                for each in verified.unreadable:
                    report.one(each)
        report.all(values, unreadable)
        if unreadable:
            raise CommandError(f"Stored values that cannot be read: {unreadable:,}.")


class _InText:
    """Writes each unreadable value as it is met: there may be more of them than memory."""

    def __init__(self, out: OutputWrapper, errors: OutputWrapper) -> None:
        self._out, self._errors = out, errors

    def one(self, each: Unreadable) -> None:
        self._errors.write(
            f"{each.field} {each.row} in {in_schema(each.schema)}{each.database!r}: "
            f"{each.cause}: {each.message}"
        )

    def all(self, values: int, unreadable: int) -> None:
        self._out.write(f"Values read: {values - unreadable:,} of {values:,}.")


class _InJson(_InText):
    """One object, `{"unreadable": [...], "values": N}`, an entry a line."""

    _before = '{"unreadable": [\n'

    def one(self, each: Unreadable) -> None:
        self._out.write(self._before + dumps(asdict(each)), ending="")
        self._before = ",\n"

    def all(self, values: int, unreadable: int) -> None:
        begun = self._before if not unreadable else "\n"
        self._out.write(f'{begun}], "values": {values}}}')


def _total(fields: list[str], database: str) -> int:
    wanted = {(str(column), column.database) for column in declared_columns(fields, database)}
    rows = census(database=database or None)
    return sum(row.values for row in rows if (f"{row.model}.{row.field}", row.database) in wanted)
