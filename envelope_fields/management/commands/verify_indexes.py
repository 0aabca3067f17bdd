"""`manage.py verify_indexes`: opens the values of every row, and compares its blind indexes."""

from dataclasses import asdict
from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.indexing import Wrong, find_indexes, verify
from envelope_fields.indexing.rows import place
from envelope_fields.management import EnvelopeCommand
from envelope_fields.management.terminal import progress_bar


class Command(EnvelopeCommand):
    help = (
        "Open the values of every row, make their blind indexes anew, and list the rows whose "
        "index is missing, stale or another one. Nothing is changed, and no value is shown. The "
        "exit code is 1 if there are any."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("label", nargs="?", metavar="LABEL",
            help="of the index, app.model.field of its column; by default all")  # fmt: skip
        super().add_arguments(parser)

    def perform(self, *, label: str | None = None, json: bool = False, **options: Any) -> None:
        rows, wrong = 0, list[Wrong]()
        with progress_bar("verifying", wanted=not json) as bar:
            for table in find_indexes([label] if label else []):
                for verified in verify(table):
                    rows += verified.rows
                    wrong += verified.wrong
                    bar.show(rows, rows)
        if json:
            self.write_json({"rows": rows, "wrong": list(map(asdict, wrong))})
        else:
            for each in wrong:
                self.stderr.write(
                    f"{each.index} {each.row} in {place(each.database, each.schema)}: "
                    f"{each.message or each.cause}"
                )
            self.stdout.write(f"Indexes compared: {rows - len(wrong):,} of {rows:,} are right.")
        if wrong:
            raise CommandError(f"{len(wrong):,} rows have not the index of their values.")
