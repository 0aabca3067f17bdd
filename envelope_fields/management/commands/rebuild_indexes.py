"""`manage.py rebuild_indexes`: fills blind indexes, and brings them from state to state."""

from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby
from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.indexing import IndexReport, bring_to, collisions, find_indexes
from envelope_fields.indexing.left_out import is_left_out, retire_left_out
from envelope_fields.indexing.rows import IndexedTable, place
from envelope_fields.management import EnvelopeCommand
from envelope_fields.management.terminal import progress_bar
from envelope_fields.models import IndexState


class Command(EnvelopeCommand):
    help = (
        "Fill the blind indexes of tables that have rows, while the application goes on. With "
        "--to, bring an index to a state: verified and reading are reached only if every row was "
        "opened and compared. Run it once no deployment is left that does not write the index. "
        "With --dry-run, list rows with the same normal form, and write nothing. No value is shown."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("label", nargs="?", metavar="LABEL",
            help="of the index, app.model.field of its column; by default all")  # fmt: skip
        parser.add_argument("--dry-run", action="store_true", help="look for collisions alone")
        parser.add_argument("--to", choices=IndexState.values, help="the state to bring it to")
        super().add_arguments(parser)

    def perform(
        self,
        *,
        label: str | None = None,
        dry_run: bool = False,
        to: str | None = None,
        json: bool = False,
        **options: Any,
    ) -> None:
        if to is not None and label is None:
            raise CommandError("Name the index that is to be brought to a state.")
        if label is not None and to == IndexState.RETIRED and is_left_out(label):
            self._report([retire_left_out(label)], json=json)
            return
        tables = find_indexes([label] if label else [])
        if dry_run:
            self._look(tables, json=json)
        else:
            self._bring_all(tables, to, json=json)

    def _bring_all(self, tables: list[IndexedTable], to: str | None, *, json: bool) -> None:
        reports, refused = [], []
        for _, of_one in groupby(tables, key=lambda table: table.index.field_path):
            try:
                reports.append(self._bring(list(of_one), to, json=json))
            except IndexNotReady as error:
                refused.append(error)
                if error.report is not None:
                    reports.append(error.report)
        self._report(reports, json=json)
        if refused:
            raise CommandError("\n".join(map(str, refused)))
        problems = sum(report.problems for report in reports)
        if problems:
            raise CommandError(f"{problems:,} rows have no index.")

    def _bring(self, tables: list[IndexedTable], to: str | None, *, json: bool) -> IndexReport:
        looked = 0
        with progress_bar("indexing", wanted=not json) as bar:

            def watch(rows: int) -> None:
                nonlocal looked
                looked += rows
                bar.show(looked, looked)

            return bring_to(tables, to, watch=watch)

    def _report(self, reports: Iterable[IndexReport], *, json: bool) -> None:
        if json:
            self.write_json({"indexes": [asdict(report) for report in reports]})
            return
        for report in reports:
            lines = [
                f"{report.label}: {IndexState(report.state).label}. Rows written: "
                f"{report.written:,}, written by others: {report.skipped:,}, compared: "
                f"{report.verified:,}, in the way: {report.problems:,}."
            ]
            lines += [
                f"  {each.row} and {each.other} collide in {place(each.database, each.schema)}"
                for each in report.collisions
            ]
            lines += [f"  {each.row}: {each.message}" for each in report.failed]
            lines += [f"  {each.row}: {each.message or each.cause}" for each in report.wrong]
            self.stdout.write("\n".join(lines))

    def _look(self, tables: Iterable[IndexedTable], *, json: bool) -> None:
        content, is_refused = [], False
        for table in tables:
            looked = list(collisions(table))
            found = [asdict(each) for batch in looked for each in batch.collisions]
            failed = [
                {"row": row, "message": message}
                for batch in looked
                for row, message in batch.failed
            ]
            values = sum(batch.values for batch in looked)
            is_refused = is_refused or (table.index.unique and bool(found))
            content.append(
                {
                    "label": table.index.field_path,
                    "database": table.using,
                    "schema": table.schema,
                    "unique": table.index.unique,
                    "values": values,
                    "collisions": found,
                    "failed": [{"row": row, "message": message} for row, message in failed],
                }
            )
        if json:
            self.write_json({"indexes": content})
        else:
            self.stdout.write("\n".join(line for each in content for line in _lines(each)))
        if is_refused:
            raise CommandError("Rows have the same normal form in an index that is to be unique.")


def _lines(looked: dict[str, Any]) -> Iterable[str]:
    found, failed = looked["collisions"], looked["failed"]
    unique = "unique" if looked["unique"] else "not unique"
    yield (
        f"{looked['label']} in {place(looked['database'], looked['schema'])}, {unique}: "
        f"{looked['values']:,} values, "
        f"{len(found):,} have the normal form of another, {len(failed):,} could not be read."
    )
    if looked["unique"]:
        yield from (f"  {each['row']} and {each['other']} collide" for each in found)
    yield from (f"  {each['row']}: {each['message']}" for each in failed)
