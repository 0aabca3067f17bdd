"""Bringing an index from state to state, as far as its rows allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.fields.index.uniqueness import lost_with
from envelope_fields.indexing.builds import wait_until_known
from envelope_fields.indexing.collisions import Collision
from envelope_fields.indexing.emptying import empty
from envelope_fields.indexing.filling import Failed, Filled, fill
from envelope_fields.indexing.rows import IndexedTable
from envelope_fields.indexing.verification import Wrong, verify
from envelope_fields.keyring import index_state
from envelope_fields.keyring.conversions import is_finished
from envelope_fields.lifecycle.index_states import (
    begun_index,
    change_index_state,
    replacing_index,
    require_index,
)
from envelope_fields.lifecycle.indexes import begin_index
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
        unseen: of databases that do not show whether older transactions are open, which and why.
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
    unseen: list[str] = field(default_factory=list)

    def begin_again(self) -> None:
        """Forget the rows in the way: every row is looked at once more."""
        self.failed, self.collisions, self.wrong, self.problems = [], [], [], 0

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
    writes afterwards are not in it. Where it replaces another index, older ones are refused, and
    this waits until every process knows. A retired index is emptied.

    Args:
        tables: those of the index, in all databases; see `find_indexes`.
        to: an `IndexState`; None fills it, and leaves the state.
        watch: called after each batch.
        actor: as for `change_index_state`.

    Raises:
        IndexNotReady: rows keep it from the state; the report is in its `report`. Or it is too
            early, or too late; or the conversion of a column is not finished that it would be read
            for.
        KeyAccessDenied: the actor may not.
        EnvelopeError, ImproperlyConfigured, DatabaseError: no index can be made.
    """
    index = tables[0].index
    report = IndexReport(index.field_path)
    to = None if to is None else IndexState(to)
    if isinstance(index.key, str):
        begin_index(index, index.key, tables[0].using)
    row = begun_index(report.label)
    before = None if row is None else IndexState(row.state)
    _refuse_after_retiring(index, before, to)
    if to == IndexState.RETIRED:
        _retire(tables, report, watch, actor)
    elif to is not None and _is_back(before, to):
        _go_back(report, to, actor)
    elif before != IndexState.RETIRED:
        _go_on(tables, report, to, watch, actor)
    row = begun_index(report.label)
    report.state = row.state if row else report.state
    return report


_BACK = {
    (IndexState.READING, IndexState.VERIFIED),
    (IndexState.READING, IndexState.FILLING),
    (IndexState.VERIFIED, IndexState.FILLING),
    (IndexState.FILLING, IndexState.FILLING),
}


def _is_back(before: IndexState | None, to: str | None) -> bool:
    return (before, to) in _BACK


def _go_back(report: IndexReport, to: str, actor: Any) -> None:
    """Change the state at once, whatever rows are like; but where others may still look."""
    row = begun_index(report.label)
    assert row is not None  # noqa: S101 - it has a state
    if row.replaces and to == IndexState.FILLING and row.state != IndexState.FILLING:
        if row.state == IndexState.READING:
            row = change_index_state(report.label, IndexState.VERIFIED, actor=actor)
        report.unseen += wait_until_known(report.label, row.state_changed_at)
    change_index_state(report.label, to, actor=actor)


def _go_on(
    tables: Sequence[IndexedTable],
    report: IndexReport,
    to: str | None,
    watch: Watcher,
    actor: Any,
) -> None:
    """Fill the index; and, for a state, compare every row, once no build writes it wrong."""
    index = tables[0].index
    if to == IndexState.READING:
        _refuse_while_converting(index)
    if to is None or index.replaced is not None:
        _fill(tables, report, watch, repair=False)
    if to is None:
        return
    if index.replaced is not None:
        report.begin_again()
        required_at = require_index(report.label, actor=actor).required_at
        if required_at is not None:
            report.unseen += wait_until_known(report.label, required_at)
    _fill(tables, report, watch, repair=True)
    if not report.problems:
        _verify(tables, report, watch)
    _refuse_unless_right(report, to)
    _step(report.label, to, actor)


def _retire(
    tables: Sequence[IndexedTable], report: IndexReport, watch: Watcher, actor: Any
) -> None:
    """Have lookups and writing end, and empty the index once every process knows."""
    newer = replacing_index(report.label)
    if newer is not None:
        _refuse_without_constraints(tables[0].index)
        report.unseen += wait_until_known(report.label, newer.state_changed_at)
    row = change_index_state(report.label, IndexState.RETIRED, actor=actor)
    report.unseen += wait_until_known(report.label, row.state_changed_at)
    for table in tables:
        for written in empty(table):
            report.written += written
            watch(written)


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


def _refuse_after_retiring(index: Any, before: IndexState | None, to: str | None) -> None:
    """Raise where there is no way back.

    Raises:
        IndexNotReady: the index is retired, or the one that lookups would go back to.
    """
    if before == IndexState.RETIRED and to not in (None, IndexState.RETIRED):
        raise IndexNotReady(
            f"The blind index {index.field_path} is retired, permanently: add one of another name."
        )
    if index.replaced is not None and _is_back(before, to):
        replaced = begun_index(index.replaced.field_path)
        if replaced is not None and replaced.state == IndexState.RETIRED:
            raise IndexNotReady(
                f"The blind index {index.field_path} does not go back: {replaced.label}, which it "
                "replaces, is retired, and lookups would end. To mend it, run `python manage.py "
                f"rebuild_indexes {index.field_path} --to reading`."
            )


def _refuse_without_constraints(index: Any) -> None:
    """Raise if uniqueness would end with an index.

    Raises:
        IndexNotReady: it is unique, or a constraint is over it, and the one that replaces it has
            none like that.
    """
    lost = lost_with(index) if index.replacing else []
    if lost:
        raise IndexNotReady(
            f"The blind index {index.field_path} keeps values unique, and the one that replaces it "
            f"would not. Declare before: {'; '.join(lost)}."
        )


def _step(label: str, to: str, actor: Any) -> None:
    """Change the state; on the way from filling to reading, by verified."""
    row = index_state(label)
    if row is not None and row.state == IndexState.FILLING and to == IndexState.READING:
        change_index_state(label, IndexState.VERIFIED, actor=actor)
    change_index_state(label, to, actor=actor)
