"""What the runs of an index are about: each row of its tables."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from uuid import UUID

from envelope_fields.census.columns import Column
from envelope_fields.databases import database
from envelope_fields.indexing.rebuild import IndexJob, Rebuild, Verification
from envelope_fields.indexing.rows import IndexedTable, find_indexes
from envelope_fields.jobs import job
from envelope_fields.models import RotationKind, RotationRun
from envelope_fields.rotation.scope import can_be_written, is_replica

KINDS = (RotationKind.REBUILD_INDEX, RotationKind.VERIFY_INDEX)


class IndexScope(job.Scope):
    """The rows of a blind index, in all databases and schemas.

    Args:
        label: `app_label.Model.field` of its column.
        kind: what is done with them.
        only_missing: whether rows that have an index are passed over.
    """

    most_passes = 3
    why_some_stay = (
        "could not be written: others wrote them, or held locks on their rows, in each pass. Run "
        "it again."
    )

    def __init__(self, label: str, kind: str, *, only_missing: bool = False) -> None:
        self._label = label.lower()
        self._verifies = kind == RotationKind.VERIFY_INDEX
        self._only_missing = only_missing

    def columns(self) -> list[Column]:
        return [table.column for table in self._tables]

    def version_ids(self, column: Column) -> None:
        return None  # every row is looked at

    def count(self, column: Column) -> Counter[UUID | None]:
        return Counter({None: _rows_in(IndexedTable(column.field, column))})

    def count_remaining(self, column: Column) -> Counter[UUID | None]:
        return Counter()  # NULL is right for some values: only a look tells

    def sees_only_by_looking(self, column: Column) -> bool:
        return not self._verifies

    def job(self, column: Column) -> IndexJob:
        table = IndexedTable(column.field, column)
        if self._verifies:
            return Verification(table)
        return Rebuild(table, only_missing=self._only_missing)

    @cached_property
    def _tables(self) -> list[IndexedTable]:
        """Those that are written: a replica, or a view of them, has the same rows."""
        return [
            table
            for table in find_indexes([self._label])
            if not is_replica(table.using) and can_be_written(table.column.relation)
        ]


def register() -> None:
    """Say what runs of our kinds are about."""
    for kind in KINDS:
        job.register(kind, scope_of)


def scope_of(run: RotationRun) -> IndexScope:
    """Return what a run is about.

    After its first pass, what is wrong has been written: by it, or by those who wrote the row.
    """
    [label] = run.only_fields
    return IndexScope(label, run.kind, only_missing=run.pass_number > 1)


def _rows_in(table: IndexedTable) -> int:
    """Count the rows of a table.

    Raises:
        RowsHidden: some would be hidden.
        ColumnNotThere: the table lacks the column of the index.
        DatabaseError: they could not be counted.
    """
    column = table.column
    stored = f"stored.{column.column_sql}"  # or SQLite takes the name of no column for a text
    with table.read():
        [[rows, _]] = database(column.database).fetch(
            f"SELECT count(*), count({stored}) FROM {column.table_sql} AS stored"  # noqa: S608
        )
    return int(rows)
