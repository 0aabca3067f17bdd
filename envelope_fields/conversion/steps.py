"""From phase to phase: a column in clear becomes an encrypted one, or goes back.

Each step finds out first whether it may be done. It can be killed and done again, by several
operators at once; what is reached already takes no time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field as item, replace
from functools import partial
from typing import Any

from envelope_fields.conversion import runs
from envelope_fields.conversion.column_phases import enter_phase, phase_now, settle
from envelope_fields.conversion.counts import counted
from envelope_fields.conversion.phases import ConversionRefused
from envelope_fields.conversion.representation import differed_text
from envelope_fields.conversion.single_steps import following, refuse_unread_indexes
from envelope_fields.exceptions import quantity
from envelope_fields.indexing.rows import find_indexes
from envelope_fields.indexing.states import bring_to
from envelope_fields.jobs.batches import persist
from envelope_fields.jobs.job import BatchResult
from envelope_fields.jobs.representation import progress
from envelope_fields.jobs.runs import limit, resume
from envelope_fields.jobs.throttle import Limits
from envelope_fields.jobs.work import work
from envelope_fields.keyring import index_state
from envelope_fields.lifecycle.index_states import change_index_state
from envelope_fields.models import ColumnPhase, IndexState, RotationKind, RotationRun, RotationState

_ORDER = list(ColumnPhase)


def _nothing(*_: Any) -> None:
    """Notify nothing."""


@dataclass(slots=True)
class Steps:
    """Brings a field to a phase, step by step.

    Args:
        field: a field with `converts=`.
        limits: what runs ask of databases at most.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt.
        notice: is called with each phase that is reached, and with what a step waits for.
        watch: is called with a run after each of its batches.

    Attributes:
        runs: those that were worked on.
    """

    field: Any
    limits: dict[str, Any] = item(default_factory=dict)
    actor: Any = None
    notice: Callable[[str], object] = _nothing
    watch: Callable[[RotationRun], object] = _nothing
    runs: list[RotationRun] = item(default_factory=list)

    def to(self, phase: ColumnPhase) -> None:
        """Bring the field to a phase, by way of those between.

        Raises:
            ConversionRefused: it is not reached; the message says what is missing.
            CensusFailed: rows could not be counted.
            EnvelopeError, ImproperlyConfigured: no value can be encrypted, or opened.
            Error: a database failed, and it was not for a reason that passes.
        """
        now = phase_now(self.field)
        self._refuse(now, phase)
        while _ORDER.index(now) > _ORDER.index(phase):
            now = self._back(now, phase)
        self._at(now)
        while now != phase:
            now = self._on(now)
            self._at(now)

    def _refuse(self, now: ColumnPhase, phase: ColumnPhase) -> None:
        if now == ColumnPhase.ONLY and phase != ColumnPhase.ONLY:
            raise ConversionRefused(
                f"{self.field} is {now}: its old column is not written any more, and there is no "
                "way back. Convert it into a plain field as any other encrypted one."
            )
        if phase == ColumnPhase.ONLY and now not in (ColumnPhase.ENCRYPTED, ColumnPhase.ONLY):
            raise ConversionRefused(
                f"{self.field} is {now}, and the step to {phase} is final. Bring it to "
                f"{ColumnPhase.ENCRYPTED} first, and work with it."
            )

    # Each phase: what has to hold before the next one

    def _at(self, phase: ColumnPhase) -> None:
        """Do what a phase is for, as far as it is not done."""
        settle(self.field, self.notice)
        if phase == ColumnPhase.FILLING:
            self._fill()
        elif phase == ColumnPhase.ENCRYPTED:
            self._compare_since_switch()
        elif phase == ColumnPhase.ONLY:
            self._empty()

    def _on(self, now: ColumnPhase) -> ColumnPhase:
        """Go to the next phase, if everything is as that one needs it."""
        to = following(now)
        assert to is not None  # noqa: S101 - it is before another one
        if to in (ColumnPhase.ENCRYPTED, ColumnPhase.ONLY):
            refuse_unread_indexes(self.field)
        if now in (ColumnPhase.FILLING, ColumnPhase.VERIFIED, ColumnPhase.ENCRYPTED):
            self.compare()
        if to in (ColumnPhase.ENCRYPTED, ColumnPhase.ONLY):
            refuse_unread_indexes(self.field)  # once more: rows may have been filled again
            self._verify_indexes()
        return self._change(now, to)

    def _back(self, now: ColumnPhase, wanted: ColumnPhase) -> ColumnPhase:
        """Go back: to where all read the old column first, if they do not yet."""
        runs.cancel_active(self.field, actor=self.actor)
        if now == ColumnPhase.ENCRYPTED:
            wanted = ColumnPhase.VERIFIED
        else:
            settle(self.field, self.notice)
        return self._change(now, wanted)

    def _change(self, now: ColumnPhase, to: ColumnPhase) -> ColumnPhase:
        persist(partial(enter_phase, self.field, now, to, actor=self.actor))
        self.notice(f"{self.field}: {to}.")
        return to

    # What is done with rows

    def _fill(self) -> None:
        if counted(self.field).remaining:
            self._worked(RotationKind.FILL)

    def compare(self) -> None:
        """Open every row and compare both columns; what differs is filled again, and compared."""
        wrong = 0
        for _ in range(2):  # what had been written before both were is found by the first one
            differed, remaining = self._compared()
            wrong = max(differed, remaining)
            if not wrong:
                return
        raise ConversionRefused(
            f"{self.field}: {differed_text(wrong)}. End that, and run this again."
        )

    def _compare_since_switch(self) -> None:
        """Compare once more when the encrypted column is read, unless that was done."""
        if not runs.was_compared_since_switch(self.field):
            self._compared()

    def _compared(self) -> tuple[int, int]:
        """Return how many rows differed, and were filled again, and how many have one value alone.

        They may not differ while the encrypted column is read.
        """
        before = phase_now(self.field)
        compared = progress(self._worked(RotationKind.COMPARE))
        remaining, differed = counted(self.field).remaining, compared.moved
        self.notice(
            f"{self.field}: {quantity(compared.total, 'row')} opened and compared: "
            f"{differed:,} differed, {remaining:,} left."
        )
        if differed:
            self._refill_indexes()
        if differed and before == ColumnPhase.ENCRYPTED:
            raise ConversionRefused(
                f"{self.field}: {differed_text(differed)}. So that is read again, and the field is "
                f"{phase_now(self.field)}. End that, and run this again."
            )
        return differed, remaining

    def _empty(self) -> None:
        if counted(self.field).clear:
            self._worked(RotationKind.EMPTY)
        remaining = counted(self.field).clear
        if remaining:
            raise ConversionRefused(
                f"{self.field}: the old column has {quantity(remaining, 'value')}. An old build "
                "writes them: end it, and run this again."
            )

    def _worked(self, kind: RotationKind) -> RotationRun:
        begun = persist(partial(self._begun, kind))
        self.runs.append(begun)

        def watch(_: BatchResult) -> None:
            self.watch(begun)

        done = self.runs[-1] = work(begun, watch)
        self._refuse_incomplete(done)
        return done

    def _begun(self, kind: RotationKind) -> RotationRun:
        begun = runs.start(kind, self.field, limits=Limits(**self.limits), actor=self.actor)
        if self.limits:  # one that was killed goes on within what is asked for now
            asked = replace(Limits.kept(begun.limits), **self.limits)
            begun = limit(begun, asked, actor=self.actor)
        return resume(begun, actor=self.actor) if begun.state == RotationState.PAUSED else begun

    def _refuse_incomplete(self, done: RotationRun) -> None:
        failed = progress(done).failed
        if done.state != RotationState.COMPLETED or failed:
            raise ConversionRefused(
                f"{self.field}: the run {done.pk} is {done.state}, and "
                f"{quantity(failed, 'row')} failed. {done.error}".rstrip()
            )

    def _refill_indexes(self) -> None:
        """Have indexes be filled: the rows that were filled again have none any more."""
        for index in self.field.indexes:
            row = index_state(index.field_path)
            if row is not None and row.state in (IndexState.VERIFIED, IndexState.READING):
                change_index_state(index.field_path, IndexState.FILLING, actor=self.actor)

    def _verify_indexes(self) -> None:
        """Have each row be in the indexes: one may be read since before the column was filled."""
        for index in self.field.indexes:
            bring_to(find_indexes([index.field_path]), IndexState.READING, actor=self.actor)
