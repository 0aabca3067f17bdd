"""Operations on a run, as each is confirmed: it is paused, resumed or cancelled."""

from functools import cached_property

from django.utils.translation import gettext as _

from envelope_fields import rotation
from envelope_fields.admin.confirmation import ConfirmationPage
from envelope_fields.admin.counts import number_text, values_text
from envelope_fields.admin.rotation_start import worker_problem
from envelope_fields.admin.runs import done_text, is_quiet, run_text
from envelope_fields.jobs.dispatch import dispatch_resume
from envelope_fields.lifecycle import Operation
from envelope_fields.models import RotationKind, RotationRun, RotationState
from envelope_fields.rotation import Progress


class RunConfirmation(ConfirmationPage):
    """An operation on a rotation."""

    @property
    def title(self) -> str:
        return f"{self.button}: {run_text(self.row)}"

    @cached_property
    def progress(self) -> Progress:
        return rotation.progress(self.row)

    @classmethod
    def is_possible(cls, run: RotationRun) -> bool:
        """Whether it changes something now."""
        return run.is_active

    def check(self) -> None:
        if not self.is_possible(self.row):
            raise rotation.RunNotPossible(
                _("The run is %(state)s: there is nothing to do here.")
                % {"state": self.row.get_state_display()}
            )

    def so_far(self) -> str:
        return _("So far: %(done)s.") % {"done": done_text(self.row, self.progress)}


class Pause(RunConfirmation):
    @classmethod
    def is_possible(cls, run: RotationRun) -> bool:
        return run.state in (RotationState.PENDING, RotationState.RUNNING)

    def consequences(self) -> list[str]:
        return [
            _("It rests as soon as the batch that is under way is done, until it is resumed."),
            self.so_far(),
            _("All values can be read and written meanwhile."),
        ]

    def perform(self) -> str:
        rotation.pause(self.row, actor=self.actor)
        return _("The run is paused.")


class Resume(RunConfirmation):
    @classmethod
    def is_possible(cls, run: RotationRun) -> bool:
        return run.state == RotationState.PAUSED or is_quiet(run)

    @cached_property
    def problem(self) -> str:
        return worker_problem(f"python manage.py rewrap --run {self.row.pk}")

    def consequences(self) -> list[str]:
        return [_("It is handed to a worker, which goes on where it was."), self.so_far()]

    def perform(self) -> str:
        dispatch_resume(self.row, actor=self.actor)
        return _("The run goes on.")


class Cancel(RunConfirmation):
    is_grave = True

    def consequences(self) -> list[str]:
        return [_("It ends where it is. To go on, another run has to be started."), *self._kept()]

    def _kept(self) -> list[str]:
        if self.row.kind == RotationKind.VERIFY_INDEX:
            return [_("It has written nothing.")]
        if self.row.kind == RotationKind.REBUILD_INDEX:
            written = number_text(self.progress.moved)
            return [_("What was written stays so: %(rows)s rows.") % {"rows": written}]
        moved = values_text(self.progress.moved)
        return [
            _("What was moved stays so: %(values)s.") % {"values": moved},
            _("What was not moved can be read as before, and stays under its version."),
        ]

    def perform(self) -> str:
        rotation.cancel(self.row, actor=self.actor)
        return _("The run is cancelled.")


_PAGES: dict[Operation, type[RunConfirmation]] = {
    Operation.PAUSE_ROTATION: Pause,
    Operation.RESUME_ROTATION: Resume,
    Operation.CANCEL_ROTATION: Cancel,
}

# By the names in addresses, in the order of the buttons.
RUN_OPERATIONS = {operation.segment: operation for operation in _PAGES}


def run_page(operation: Operation) -> type[RunConfirmation]:
    return _PAGES[operation]


def possible_run_operations(run: RotationRun) -> list[str]:
    """Return the names of what can be done with a run now."""
    return [
        name for name, operation in RUN_OPERATIONS.items() if run_page(operation).is_possible(run)
    ]
