"""Bringing an index from state to state, as far as its rows allow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from envelope_fields.census.columns import index_columns
from envelope_fields.exceptions import IndexNotReady, quantity
from envelope_fields.indexing import runs, steps
from envelope_fields.indexing.collisions import require_constraints
from envelope_fields.indexing.rows import IndexedTable, find_indexes
from envelope_fields.indexing.runs import last_change, wait_until, wait_until_known
from envelope_fields.jobs.representation import progress
from envelope_fields.jobs.runs import RotationUnderWay
from envelope_fields.keyring.index_rows import unwritten_from
from envelope_fields.lifecycle import index_states, index_triggers
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.models import BlindIndex, IndexState, RotationKind, RotationRun, RotationState

Worker = Callable[[RotationRun], RotationRun]  # works on a run until it is over


@dataclass(slots=True)
class IndexReport:
    """What was done with an index, in all its databases.

    Attributes:
        label: of the index.
        state: which it is in now.
        runs: the runs that were worked on, in their order.
        unseen: what could not be looked at, such as open transactions, or not be done, such as
            making triggers, and why.
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
    The deployment that writes the index has to be the only one by then. Where it replaces another
    index, older ones are refused, and this waits until every process knows. Otherwise every row is
    compared once more before it is `reading`, `KEY_CACHE_SECONDS` later and when older transactions
    have ended: what an older build has written by then shows. A retired index is emptied. Killed,
    it goes on with the run that was under way.

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
    row = index_states.begun_index(index.field_path)
    before = None if row is None else IndexState(row.state)
    steps.refuse_after_retiring(index, before, to)
    if to == IndexState.RETIRED:
        bringing.retire()
    elif to is not None and steps.is_back(before, to):
        bringing.go_back(to)
    elif to is not None:
        bringing.go_on(to)
    else:
        bringing.fill()
    row = index_states.begun_index(index.field_path)
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

    def fill(self) -> None:
        """Rebuild it, and leave its state."""
        self.report.unseen += index_triggers.settle(self.index, self._state())
        self.work_on(RotationKind.REBUILD_INDEX)

    def go_back(self, to: IndexState) -> None:
        """Change the state at once, whatever rows are like; but where others may still look."""
        row: Any = index_states.begun_index(self.label)
        if to == IndexState.FILLING and row.state != IndexState.FILLING:
            if row.state == IndexState.READING:
                row = index_states.change_index_state(
                    self.label, IndexState.VERIFIED, actor=self.actor
                )
            self.report.unseen += wait_until_known(self.label, row.state_changed_at)
        index_states.change_index_state(self.label, to, actor=self.actor)

    def go_on(self, to: IndexState) -> None:
        """Rebuild it, and compare every row, once no build writes it wrong."""
        if to == IndexState.READING:
            steps.refuse_while_converting(self.index)
        require_constraints(find_indexes([self.label]), to)
        self._require()
        before = self._state()
        makes_right = (before, to) != (IndexState.VERIFIED, IndexState.READING)
        if makes_right:
            self._make_right(to)
        if before != IndexState.READING:
            steps.refuse_while_emptied(self.index, to)
            row = index_states.change_index_state(self.label, IndexState.VERIFIED, actor=self.actor)
            # Where older builds were refused by then, nothing has come since.
            if to == IndexState.READING and not (makes_right and row.required_at):
                self._look_once_more(row)
            steps.refuse_while_emptied(self.index, to)
        index_states.change_index_state(self.label, to, actor=self.actor)

    def _state(self) -> str:
        row = index_states.begun_index(self.label)
        return IndexState.FILLING if row is None else row.state

    def retire(self) -> None:
        """Have lookups and writing end, and empty the index once every process knows."""
        newer = index_states.replacing_index(self.label)
        if newer is not None:
            steps.refuse_without_constraints(self.index)
            self.report.unseen += wait_until_known(self.label, newer.state_changed_at)
        row = index_states.change_index_state(self.label, IndexState.RETIRED, actor=self.actor)
        # Those that know it close it, and those that have closed it let others go without it.
        self.report.unseen += wait_until(self.label, unwritten_from(row))
        self.work_on(RotationKind.REBUILD_INDEX)

    def work_on(self, kind: str) -> None:
        """Start a run, or go on with the one that is under way, and work on it."""
        self.report.runs.append(self.work(self._started(kind)))

    def _started(self, kind: str) -> RotationRun:
        """Start a run, after one of the other kind that another process may be at by now."""
        joined = None
        while True:
            try:
                return runs.start(self.index, kind, using=self.using, actor=self.actor)
            except RotationUnderWay as other:
                if other.run is None or other.run == joined:
                    raise
                joined = other.run
                self.work(joined)

    def _require(self) -> None:
        """Have older builds refused, where it replaces an index; most rows are in it by then."""
        row = index_states.begun_index(self.label)
        if row is None or self.index.replaced is None:
            return
        if row.required_at is None:
            under_way = runs.active_run(self.index)
            if under_way is None or under_way.kind == RotationKind.REBUILD_INDEX:
                self.work_on(RotationKind.REBUILD_INDEX)
            row = index_states.require_index(self.label, actor=self.actor)
        if row.required_at is not None:
            self.report.unseen += wait_until_known(self.label, row.required_at)

    def _look_once_more(self, row: BlindIndex) -> None:
        """Look what was written since every row was found right, when older builds had their time.

        If rows are wrong again, the index is filled again, and that is raised.
        """
        self.report.unseen += wait_until_known(self.label, last_change(row) or row.state_changed_at)
        self.work_on(RotationKind.VERIFY_INDEX)
        last = self.report.last_run
        if last is None or last.state != RotationState.COMPLETED or self.report.is_right:
            self._refuse_unless_right(IndexState.READING)
            return
        index_states.change_index_state(self.label, IndexState.FILLING, actor=self.actor)
        self.report.state = IndexState.FILLING
        raise self._not_ready(
            f"is {IndexState.FILLING.label} again: since every row was found right, "
            f"{quantity(self.report.problems, 'row')} changed without it. A build that does not "
            "know the index is still running, or SQL of your own or a re-encryption has written "
            f"values. End that, and run `python manage.py rebuild_indexes {self.label} "
            f"--to reading` again. The run {last.pk} lists the rows."
        )

    def _make_right(self, to: IndexState) -> None:
        """Rebuild the index and verify it, while no trigger empties what is right."""
        self.report.unseen += index_triggers.settle(self.index, IndexState.VERIFIED)
        try:
            self._rebuild_and_verify()
            self._refuse_unless_right(to)
        except Exception:
            index_triggers.settle(self.index, self._state())
            raise

    def _rebuild_and_verify(self) -> None:
        """Go on with a verification that was interrupted, or do both."""
        under_way = runs.active_run(self.index)
        if under_way is not None and under_way.kind == RotationKind.VERIFY_INDEX:
            self.work_on(RotationKind.VERIFY_INDEX)
            row = index_states.begun_index(self.label)
            counts = row is not None and under_way.created_at >= steps.written_by_all_since(row)
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
            why = f"{quantity(self.report.problems, 'row')} in the way, see the run {last.pk}."
        raise self._not_ready(f"does not become {to.label}: {why}")

    def _not_ready(self, why: str) -> IndexNotReady:
        error = IndexNotReady(f"The blind index {self.label} {why}")
        error.report = self.report
        return error


# -- Indexes that no model declares any more -------------------------------------------------------


def is_undeclared(label: str) -> bool:
    """Whether an index is begun, and not in the models of this build."""
    declared: list[Any] = [column.field for column in index_columns()]
    is_declared = label.lower() in {index.field_path for index in declared}
    return not is_declared and index_states.begun_index(label.lower()) is not None


def retire_undeclared(label: str, *, actor: Any = None) -> IndexReport:
    """Retire such an index, by what is known of it. What it has stays, until its column goes.

    Raises:
        IndexNotReady: lookups ask it, and no other one instead.
        KeyAccessDenied: the actor may not.
    """
    report = IndexReport(label.lower(), IndexState.RETIRED)
    newer = index_states.replacing_index(report.label)
    if newer is not None:
        report.unseen += wait_until_known(report.label, newer.state_changed_at)
    index_states.change_index_state(report.label, IndexState.RETIRED, actor=actor)
    return report
