"""`manage.py rebuild_indexes`: rebuilds blind indexes, and brings them from state to state."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.exceptions import IndexNotReady, quantity
from envelope_fields.indexing import IndexReport, bring_to, collisions, find_indexes
from envelope_fields.indexing.representation import (
    begun_indexes,
    collisions_content,
    index_content,
    standings,
)
from envelope_fields.indexing.rows import IndexedTable, location
from envelope_fields.indexing.states import is_undeclared, retire_undeclared
from envelope_fields.jobs.representation import content_with_failures
from envelope_fields.management import terminal
from envelope_fields.management.runs import RunsCommand
from envelope_fields.models import IndexState


class Command(RunsCommand):
    help = (
        "Rebuild the blind indexes of tables that have rows, while the application goes on. With "
        "--to, bring an index to a state: verified and reading are reached only if every row was "
        "opened and compared. Run it once no deployment is left that does not write the index. It "
        "can be stopped at any time (also killed) and run again. With --dry-run, list rows with "
        "the same normal form, and write nothing. No value is shown."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("label", nargs="?", metavar="LABEL",
            help="of the index, app.model.field of its column; by default all")  # fmt: skip
        parser.add_argument("--dry-run", action="store_true", help="look for collisions alone")
        parser.add_argument("--to", choices=IndexState.values, help="the state to bring it to")
        self.add_workers_and_limits(parser)
        super().add_arguments(parser)

    def perform(
        self,
        *,
        label: str | None = None,
        dry_run: bool = False,
        to: str | None = None,
        **options: Any,
    ) -> None:
        if to is not None and label is None:
            raise CommandError("Name the index that is to be brought to a state.")
        if label is not None and to == IndexState.RETIRED and is_undeclared(label):
            self._report([retire_undeclared(label)])
            return
        tables = find_indexes([] if label is None else [label])
        if dry_run:
            self._look(tables)
        else:
            self._bring_all(tables, to)

    def _bring_all(self, tables: list[IndexedTable], to: str | None) -> None:
        reports, refused = [], []
        for _, of_one in groupby(tables, key=lambda table: table.index.field_path):
            try:
                reports.append(bring_to(list(of_one), to, work=self.work_on_index))
            except IndexNotReady as error:
                refused.append(str(error))
                if error.report is not None:
                    reports.append(error.report)
        self._report(reports)
        unfinished = [report.label for report in reports if not report.is_right]
        if refused or unfinished:
            named = ", ".join(unfinished)
            raise CommandError("\n".join(refused or [f"Rows are in the way of {named}."]))

    def _report(self, reports: Iterable[IndexReport]) -> None:
        if self.json:
            self.write_json({"indexes": list(map(_report_content, reports))})
            return
        for report in reports:
            self.stdout.write("\n".join(_report_lines(report)))

    def _look(self, tables: Iterable[IndexedTable]) -> None:
        content = [collisions_content(table, collisions(table)) for table in tables]
        text = "\n".join(line for each in content for line in _lines(each))
        self.say(lambda: {"indexes": content}, text)
        if any(_kept_apart(each) for each in content):
            raise CommandError("Rows have the same normal form in an index that is to be unique.")


def _report_content(report: IndexReport) -> dict[str, Any]:
    """Return what was done with an index, and how far it is, as plain data."""
    row = begun_indexes().filter(label=report.label).first()
    content = {"label": report.label, "state": None}
    if row is not None:
        content = index_content(*standings([row]))
    runs_done = list(map(content_with_failures, report.runs))
    return {**content, "runs": runs_done, "unseen": report.unseen}


def _report_lines(report: IndexReport) -> Iterable[str]:
    """Say the same in lines."""
    yield f"{report.label}: {IndexState(report.state).label}."
    yield from map(terminal.run_as_text, report.runs)
    if report.last_run is not None:
        yield from terminal.problems(report.last_run)
    yield from (f"  not seen: {each}" for each in report.unseen)


def _kept_apart(looked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return those that collide and are to be unique."""
    return [each for each in looked["collisions"] if looked["unique"] or each.get("constraint")]


def _lines(looked: dict[str, Any]) -> Iterable[str]:
    found, failed = looked["collisions"], looked["failed"]
    unique = "unique" if looked["unique"] else "not unique"
    yield (
        f"{looked['label']} in {location(looked['database'], looked['schema'])}, {unique}: "
        f"{quantity(looked['values'], 'value')}, "
        f"{len(found):,} with the normal form of another, {len(failed):,} could not be read."
    )
    for each in _kept_apart(looked):
        constraint = f" by {each['constraint']!r}" if each.get("constraint") else ""
        yield f"  {each['row']} and {each['other']} collide{constraint}"
    yield from (f"  {each['row']}: {each['message']}" for each in failed)
