"""Bringing an index from state to state, as far as its rows allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.indexing.collisions import Collision
from envelope_fields.indexing.filling import Failed, Filled, fill
from envelope_fields.indexing.rows import IndexedTable
from envelope_fields.indexing.verification import Wrong, verify
from envelope_fields.keyring import index_state
from envelope_fields.keyring.conversions import is_finished
from envelope_fields.lifecycle.indexes import begin_index, change_index_state
from envelope_fields.models import IndexState

Watcher = Callable[[int], object]  # given how many rows more were looked at

_LISTED = 100  # of each kind; all are counted


@dataclass(slots=True)
class IndexReport:
    """What was done with an index, in all its databases.

    Attributes:
        label: of the index.
        state: which it is in now.
        written: rows that got their index.
        skipped: rows that others wrote meanwhile.
        verified: rows that were compared; 0 where none were.
        failed, collisions, wrong: rows that keep it from going on, the first 100 of each.
        problems: how many of these there are.
    """

    label: str
    state: str = IndexState.FILLING
    written: int = 0
    skipped: int = 0
    verified: int = 0
    failed: list[Failed] = field(default_factory=list)
    collisions: list[Collision] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    problems: int = 0

    def add(self, done: Filled) -> None:
        """Add a batch."""
        self.written += done.written
        self.skipped += done.skipped
        self._list(self.failed, done.failed)
        self._list(self.collisions, done.collisions)

    def add_wrong(self, rows: int, wrong: Sequence[Wrong]) -> None:
        """Add a batch that was compared."""
        self.verified += rows
        self._list(self.wrong, wrong)

    def _list(self, listed: list[Any], found: Sequence[Any]) -> None:
        self.problems += len(found)
        listed += found[: max(_LISTED - len(listed), 0)]


def _unwatched(rows: int) -> None:
    """Show nothing."""


def bring_to(
    tables: Sequence[IndexedTable],
    to: str | None = None,
    *,
    watch: Watcher = _unwatched,
    actor: Any = None,
) -> IndexReport:
    """Fill an index, and bring it to a state if all its rows allow it.

    Before it is `verified`, every row has been opened and compared, and what differed was written.
    The deployment that writes the index has to be the only one by then: rows that an older one
    writes afterwards are not in it.

    Args:
        tables: those of the index, in all databases; see `find_indexes`.
        to: an `IndexState`; None fills it, and leaves the state.
        watch: called after each batch.
        actor: as for `change_index_state`.

    Raises:
        IndexNotReady: rows keep it from the state; the report is in its `report`. Or the
            conversion of a column is not finished that it would be read for.
        KeyAccessDenied: the actor may not.
        EnvelopeError, ImproperlyConfigured, DatabaseError: no index can be made.
    """
    index = tables[0].index
    label, key = index.field_path, index.key
    report = IndexReport(label)
    to = None if to is None else IndexState(to)
    if to == IndexState.READING:
        _refuse_while_converting(index)
    if isinstance(key, str):
        begin_index(index, key, tables[0].using)
    if to not in (IndexState.FILLING, IndexState.RETIRED):
        _fill(tables, report, watch, repair=to is not None)
    if to in (IndexState.VERIFIED, IndexState.READING) and not report.problems:
        _verify(tables, report, watch)
    if to == IndexState.RETIRED:
        _refuse_while_asked(index)
    if to is not None:
        _refuse_unless_right(report, to)
        _step(label, to, actor)
    row = index_state(label)
    report.state = row.state if row else report.state
    return report


def _fill(
    tables: Sequence[IndexedTable], report: IndexReport, watch: Watcher, *, repair: bool
) -> None:
    for table in tables:
        for done in fill(table, repair=repair):
            report.add(done)
            watch(done.written + done.kept + done.skipped + len(done.failed))


def _verify(tables: Sequence[IndexedTable], report: IndexReport, watch: Watcher) -> None:
    for table in tables:
        for verified in verify(table):
            report.add_wrong(verified.rows, verified.wrong)
            watch(verified.rows)


def _refuse_unless_right(report: IndexReport, to: str) -> None:
    if not report.problems:
        return
    error = IndexNotReady(
        f"The blind index {report.label} does not become {IndexState(to).label}: "
        f"{report.problems:,} rows are in the way. `python manage.py verify_indexes "
        f"{report.label}` lists them."
    )
    error.report = report
    raise error


def _refuse_while_converting(index: Any) -> None:
    """Raise while a build of another package may write values that are in no index.

    Raises:
        IndexNotReady: the conversion of a column that it is of is not finished.
    """
    converted = [source.field for source in index.sources if source.field.legacy_formats]
    for each in converted:
        if not is_finished(each.model._meta.label, each.name):
            raise IndexNotReady(
                f"The blind index {index.field_path} does not become reading: what a build of "
                f"another package writes into {each} is not in it. Finish the conversion first: "
                f"`python manage.py convert_field {each} --to finished`."
            )


def _refuse_while_asked(index: Any) -> None:
    """Raise if lookups ask an index, and no other one instead.

    Raises:
        IndexNotReady: they do.
    """
    row = index_state(index.field_path)
    if row is None or row.state != IndexState.READING:
        return
    beside = index.model._meta.local_fields
    replacing = [each for each in beside if getattr(each, "replaces", None) == index.name]
    states = [index_state(each.field_path) for each in replacing]
    if not any(state is not None and state.state == IndexState.READING for state in states):
        raise IndexNotReady(
            f"The blind index {index.field_path} is reading, and no index that is reading "
            f"`replaces` it: its lookups would end. Bring such a one to reading first; or, if they "
            f"are to end, this one to verified: `python manage.py rebuild_indexes "
            f"{index.field_path} --to verified`."
        )


def _step(label: str, to: str, actor: Any) -> None:
    """Change the state; on the way from filling to reading, by verified."""
    row = index_state(label)
    if row is not None and row.state == IndexState.FILLING and to == IndexState.READING:
        change_index_state(label, IndexState.VERIFIED, actor=actor)
    change_index_state(label, to, actor=actor)
