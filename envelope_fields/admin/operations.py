"""Operations that are confirmed: on keys and their versions, and on rotations."""

from functools import cached_property

from django.utils.translation import gettext as _

from envelope_fields import rotation
from envelope_fields.admin.confirmation import ConfirmationPage, KeyConfirmation
from envelope_fields.admin.deletion import CancelDeletion, ScheduleDeletion, Shred
from envelope_fields.admin.rotation_progress import done_text, is_quiet, run_text
from envelope_fields.admin.rotation_start import worker_problem
from envelope_fields.admin.words import values_text, when_it_holds
from envelope_fields.jobs.dispatch import dispatch_resume
from envelope_fields.lifecycle import Operation
from envelope_fields.models import MasterKey, MasterKeyVersion, RotationRun, RotationState
from envelope_fields.rotation import Progress, RunNotPossible


class Rotate(KeyConfirmation):
    def consequences(self) -> list[str]:
        newest = self.key.versions.using(self.key._state.db).latest("number")
        return [
            _(
                "Version %(number)d is made and becomes current: from now on, values are written "
                "under it."
            )
            % {"number": newest.number + 1},
            _("%(values)s stay where they are, and are read as before.")
            % {"values": values_text(self.values)},
            _(
                "If a version has leaked, this is not enough: its values have to be "
                "re-encrypted, and the version disabled."
            ),
        ]

    def message(self, result: MasterKeyVersion) -> str:
        words = {"key": self.key, "number": result.number}
        if result.opened_at is None:
            return (
                _(
                    "%(key)s has version %(number)d, which this process may not open. It becomes "
                    "current when one that may runs: python manage.py open_master_key_versions"
                )
                % words
            )
        return _("%(key)s was rotated: version %(number)d is current.") % words


class Enable(KeyConfirmation):
    def consequences(self) -> list[str]:
        return [
            _("%(values)s can be read again.") % {"values": values_text(self.values)},
            when_it_holds(),
        ]


class Disable(KeyConfirmation):
    def consequences(self) -> list[str]:
        lines = [
            _("%(values)s cannot be read until it is enabled again.")
            % {"values": values_text(self.values)}
        ]
        if isinstance(self.row, MasterKey):
            lines.append(_("Nothing can be written under it: forms that try to will fail."))
        return [*lines, when_it_holds()]


class MoveAlias(KeyConfirmation):
    """What names the alias is written under this key from then on."""

    def consequences(self) -> list[str]:
        lines = [
            _("Fields that name the alias write under this key from now on."),
            _(
                "A key that has it now keeps none, and is named by its id. Its values stay "
                "readable."
            ),
            _("%(values)s under this key stay readable.") % {"values": values_text(self.values)},
        ]
        if self.key.alias:
            lines.append(
                _("No key has the alias %(alias)s then: fields that name it cannot write.")
                % {"alias": self.key.alias}
            )
        return [*lines, when_it_holds()]

    def message(self, result: None) -> str:
        alias = self.form.cleaned_data["alias"]
        return _("The key has the alias %(alias)s now.") % {"alias": alias}


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
            raise RunNotPossible(
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
        return [
            _("It ends where it is. To go on, another run has to be started."),
            _("What was moved stays so: %(values)s.")
            % {"values": values_text(self.progress.moved)},
            _("What was not moved can be read as before, and stays under its version."),
        ]

    def perform(self) -> str:
        rotation.cancel(self.row, actor=self.actor)
        return _("The run is cancelled.")


_PAGES: dict[Operation, type[KeyConfirmation]] = {
    Operation.ROTATE: Rotate,
    Operation.ENABLE: Enable,
    Operation.DISABLE: Disable,
    Operation.MOVE_ALIAS: MoveAlias,
    Operation.SCHEDULE_DELETION: ScheduleDeletion,
    Operation.CANCEL_DELETION: CancelDeletion,
    Operation.SHRED: Shred,
}
_RUN_PAGES: dict[Operation, type[RunConfirmation]] = {
    Operation.PAUSE_ROTATION: Pause,
    Operation.RESUME_ROTATION: Resume,
    Operation.CANCEL_ROTATION: Cancel,
}

# By the names in addresses, in the order of the buttons. An operation on keys that has no page here
# is asked about in the words of the registry.
KEY_OPERATIONS = {
    str(operation): operation
    for operation in Operation
    if operation.button and operation.transitions
}
RUN_OPERATIONS = {operation.segment: operation for operation in _RUN_PAGES}


def key_page(operation: Operation) -> type[KeyConfirmation]:
    return _PAGES.get(operation, KeyConfirmation)


def run_page(operation: Operation) -> type[RunConfirmation]:
    return _RUN_PAGES[operation]


def possible_run_operations(run: RotationRun) -> list[str]:
    """Return the names of what can be done with a run now."""
    return [
        name for name, operation in RUN_OPERATIONS.items() if run_page(operation).is_possible(run)
    ]
