"""Bringing an index from state to state, as far as its rows allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.indexing import runs
from envelope_fields.indexing.builds import wait_until_known
from envelope_fields.indexing.rows import IndexedTable
from envelope_fields.indexing.steps import (
    is_back,
    refuse_after_retiring,
    refuse_while_converting,
    refuse_without_constraints,
    step,
    written_by_all_since,
)
from envelope_fields.jobs.representation import progress
from envelope_fields.lifecycle.index_states import (
    begun_index,
    change_index_state,
    replacing_index,
    require_index,
)
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.models import IndexState, RotationKind, RotationRun, RotationState

Worker = Callable[[RotationRun], RotationRun]  # works on a run until it is over


@dataclass(slots=True)
class IndexReport:
    """What was done with an index, in all its databases.

    Attributes:
        label: of the index.
        state: which it is in now.
        runs: the runs that were worked on, in their order.
        unseen: of databases that do not show whether older transactions are open, which and why.
    """

    label: str
    state: str = IndexState.FILLING
    runs: list[RotationRun] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    @property
    def last_run(self) -> RotationRun | None:
        """The run whose numbers count."""
        return self.runs[-1] if self.runs else None

    @property
    def written(self) -> int:
        """How many rows were written."""
        return sum(progress(each).moved for each in self.runs)

    @property
    def problems(self) -> int:
        """How many rows were in the way of the last run."""
        return progress(self.runs[-1]).failed if self.runs else 0

    @property
    def is_right(self) -> bool:
        """Whether nothing is in the way."""
        last = self.last_run
        return last is None or (last.state == RotationState.COMPLETED and not self.problems)


def bring_to(
    tables: Sequence[IndexedTable],
    to: str | None = None,
    *,
    work: Worker = runs.run,
    actor: Any = None,
) -> IndexReport:
    """Rebuild an index, and bring it to a state if all its rows allow it.

    Before it is `verified`, every row has been opened and compared, and what differed was written.
    The deployment that writes the index has to be the only one by then: rows that an older one
    writes afterwards are not in it. Where it replaces another index, older ones are refused, and
    this waits until every process knows. A retired index is emptied. Killed, it goes on with the
    run that was under way.

    Args:
        tables: those of the index, in all databases; see `find_indexes`.
        to: an `IndexState`; None rebuilds it, and leaves the state.
        work: works on a run.
        actor: as for `runs.start` and `change_index_state`.

    Raises:
        IndexNotReady: rows keep it from the state; the report is in its `report`. Or it is too
            early, or too late; or the conversion of a column is not finished that it would be read
            for.
        KeyAccessDenied: the actor may not.
        EnvelopeError, ImproperlyConfigured, DatabaseError: no index can be made.
    """
    index, using = tables[0].index, tables[0].using
    to = None if to is None else IndexState(to)
    if index.only_alias is not None:
        begin_index(index, index.only_alias, using)
    bringing = _Bringing(index, using, IndexReport(index.field_path), work, actor)
    row = begun_index(index.field_path)
    before = None if row is None else IndexState(row.state)
    refuse_after_retiring(index, before, to)
    if to == IndexState.RETIRED:
        bringing.retire()
    elif to is not None and is_back(before, to):
        bringing.go_back(to)
    elif to is not None:
        bringing.go_on(to)
    else:
        bringing.work_on(RotationKind.REBUILD_INDEX)
    row = begun_index(index.field_path)
    bringing.report.state = row.state if row else bringing.report.state
    return bringing.report


@dataclass(frozen=True, slots=True)
class _Bringing:
    """An index on its way to a state."""

    index: Any
    using: str
    report: IndexReport
    work: Worker
    actor: Any

    @property
    def label(self) -> str:
        return self.report.label

    def go_back(self, to: IndexState) -> None:
        """Change the state at once, whatever rows are like; but where others may still look."""
        row = begun_index(self.label)
        assert row is not None  # noqa: S101 - it has a state
        if row.replaces and to == IndexState.FILLING and row.state != IndexState.FILLING:
            if row.state == IndexState.READING:
                row = change_index_state(self.label, IndexState.VERIFIED, actor=self.actor)
            self.report.unseen += wait_until_known(self.label, row.state_changed_at)
        change_index_state(self.label, to, actor=self.actor)

    def go_on(self, to: IndexState) -> None:
        """Rebuild it, and compare every row, once no build writes it wrong."""
        if to == IndexState.READING:
            refuse_while_converting(self.index)
        self._require()
        self._make_right()
        self._refuse_unless_right(to)
        step(self.label, to, actor=self.actor)

    def retire(self) -> None:
        """Have lookups and writing end, and empty the index once every process knows."""
        newer = replacing_index(self.label)
        if newer is not None:
            refuse_without_constraints(self.index)
            self.report.unseen += wait_until_known(self.label, newer.state_changed_at)
        row = change_index_state(self.label, IndexState.RETIRED, actor=self.actor)
        self.report.unseen += wait_until_known(self.label, row.state_changed_at)
        self.work_on(RotationKind.REBUILD_INDEX)

    def work_on(self, kind: str) -> None:
        """Start a run, or go on with the one that is under way, and work on it."""
        begun = runs.start(self.index, kind, using=self.using, actor=self.actor)
        self.report.runs.append(self.work(begun))

    def _require(self) -> None:
        """Have older builds refused, where it replaces an index; most rows are in it by then."""
        row = begun_index(self.label)
        if row is None or self.index.replaced is None:
            return
        if row.required_at is None:
            self.work_on(RotationKind.REBUILD_INDEX)
            row = require_index(self.label, actor=self.actor)
        if row.required_at is not None:
            self.report.unseen += wait_until_known(self.label, row.required_at)

    def _make_right(self) -> None:
        """Rebuild the index and verify it; go on with a verification that was interrupted."""
        under_way = runs.active_run(self.index)
        if under_way is not None and under_way.kind == RotationKind.VERIFY_INDEX:
            self.work_on(RotationKind.VERIFY_INDEX)
            row = begun_index(self.label)
            counts = row is not None and under_way.created_at >= written_by_all_since(row)
            if counts and self.report.is_right:
                return
        self.work_on(RotationKind.REBUILD_INDEX)
        if self.report.is_right:
            self.work_on(RotationKind.VERIFY_INDEX)

    def _refuse_unless_right(self, to: IndexState) -> None:
        last = self.report.last_run
        if last is None or self.report.is_right:
            return
        why = f"the run {last.pk} is {last.state}. {last.error}".rstrip()
        if last.state == RotationState.COMPLETED:
            why = f"{self.report.problems:,} rows are in the way. The run {last.pk} lists them."
        error = IndexNotReady(f"The blind index {self.label} does not become {to.label}: {why}")
        error.report = self.report
        raise error
