"""`manage.py verify_indexes`: opens the values of every row, and compares its blind indexes."""

from itertools import groupby
from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.indexing import find_indexes, runs
from envelope_fields.jobs.representation import content_with_failures, progress
from envelope_fields.management import terminal
from envelope_fields.management.runs import RunsCommand
from envelope_fields.models import RotationKind


class Command(RunsCommand):
    help = (
        "Open the values of every row, make their blind indexes anew, and list the rows whose "
        "index is missing, stale or another one. No index is changed, and no value is shown. The "
        "exit code is 1 if there are any."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("label", nargs="?", metavar="LABEL",
            help="of the index, app.model.field of its column; by default all")  # fmt: skip
        self.add_workers_and_limits(parser)
        super().add_arguments(parser)

    def perform(self, *, label: str | None = None, **options: Any) -> None:
        done = []
        tables = find_indexes([] if label is None else [label])
        for _, of_one in groupby(tables, key=lambda table: table.index.field_path):
            table = next(of_one)
            begun = runs.start(table.index, RotationKind.VERIFY_INDEX, using=table.using)
            done.append(self.work_on_index(begun))
        found = list(map(progress, done))
        rows, wrong = sum(each.total for each in found), sum(each.failed for each in found)
        problems = [line for each in done for line in terminal.problems(each)]
        right = f"Indexes compared: {rows - wrong:,} of {rows:,} are right."
        text = "\n".join([*map(terminal.run_as_text, done), right])
        self.say(
            lambda: {"rows": rows, "wrong": wrong, "runs": list(map(content_with_failures, done))},
            text,
        )
        if problems:
            raise CommandError("\n".join(problems))
