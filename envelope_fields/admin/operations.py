"""Operations that are confirmed: on keys and their versions, and on rotations."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from envelope_fields import lifecycle, rotation
from envelope_fields.admin.confirmation import Confirmation, ConfirmationForm, KeyConfirmation
from envelope_fields.admin.deletion import CancelDeletion, ScheduleDeletion, Shred
from envelope_fields.admin.rotation_progress import done_text, is_quiet, run_text
from envelope_fields.admin.rotation_start import worker_problem
from envelope_fields.admin.words import name_of, values_text, when_it_holds
from envelope_fields.lifecycle import Act
from envelope_fields.models import MasterKey, RotationRun, RotationState
from envelope_fields.rotation import Progress, RunNotPossible
from envelope_fields.rotation.elsewhere import resume_elsewhere


class Rotate(KeyConfirmation):
    act = Act.ROTATE
    button = gettext_lazy("Rotate")

    def consequences(self) -> list[str]:
        newest = self.key.current_version.number
        return [
            _(
                "Version %(number)d is made and becomes current: from now on, values are written "
                "under it."
            )
            % {"number": newest + 1},
            _("%(values)s stay where they are, and are read as before.")
            % {"values": values_text(self.values)},
            _(
                "If a version has leaked, this is not enough: its values have to be "
                "re-encrypted, and the version disabled."
            ),
        ]

    def perform(self) -> str:
        version = lifecycle.rotate_master_key(self.key, actor=self.actor)
        return _("%(key)s was rotated: version %(number)d is current.") % {
            "key": self.key,
            "number": version.number,
        }


class Enable(KeyConfirmation):
    act = Act.ENABLE
    button = gettext_lazy("Enable")

    def consequences(self) -> list[str]:
        return [
            _("%(values)s can be read again.") % {"values": values_text(self.values)},
            when_it_holds(),
        ]

    def perform(self) -> str:
        lifecycle.enable(self.row, actor=self.actor)
        return _("%(what)s is enabled.") % {"what": name_of(self.row)}


class Disable(KeyConfirmation):
    act = Act.DISABLE
    button = gettext_lazy("Disable")

    def consequences(self) -> list[str]:
        lines = [
            _("%(values)s cannot be read until it is enabled again.")
            % {"values": values_text(self.values)}
        ]
        if isinstance(self.row, MasterKey):
            lines.append(_("Nothing can be written under it: forms that try to will fail."))
        return [*lines, when_it_holds()]

    def perform(self) -> str:
        lifecycle.disable(self.row, actor=self.actor)
        return _("%(what)s is disabled.") % {"what": name_of(self.row)}


class AliasForm(ConfirmationForm):
    alias = forms.CharField(
        label=gettext_lazy("Alias"),
        max_length=200,
        validators=MasterKey._meta.get_field("alias").validators,
        widget=AdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy("A new one, or one that another key has."),
    )


class MoveAlias(KeyConfirmation):
    """What names the alias is written under this key from then on."""

    act = Act.MOVE_ALIAS
    button = gettext_lazy("Move alias")
    form_class = AliasForm

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

    def perform(self) -> str:
        alias = self.form.cleaned_data["alias"]
        lifecycle.move_alias(alias, self.key, actor=self.actor)
        return _("The key has the alias %(alias)s now.") % {"alias": alias}


class RunConfirmation(Confirmation):
    """An operation on a rotation.

    Attributes:
        name: the operation, as addresses and the script name it.
    """

    name: ClassVar[str]

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
    name = "pause"
    button = gettext_lazy("Pause")

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
    name = "resume"
    button = gettext_lazy("Resume")

    @classmethod
    def is_possible(cls, run: RotationRun) -> bool:
        return run.state == RotationState.PAUSED or is_quiet(run)

    @cached_property
    def problem(self) -> str:
        return worker_problem(f"python manage.py rewrap --run {self.row.pk}")

    def consequences(self) -> list[str]:
        return [_("It is handed to a worker, which goes on where it was."), self.so_far()]

    def perform(self) -> str:
        resume_elsewhere(self.row, actor=self.actor)
        return _("The run goes on.")


class Cancel(RunConfirmation):
    name = "cancel"
    button = gettext_lazy("Cancel run")
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


# In the order of the buttons.
KEY_OPERATIONS: dict[str, type[KeyConfirmation]] = {
    str(page.act): page
    for page in (Rotate, Enable, Disable, MoveAlias, ScheduleDeletion, CancelDeletion, Shred)
}
RUN_OPERATIONS: dict[str, type[RunConfirmation]] = {
    page.name: page for page in (Pause, Resume, Cancel)
}


def possible_run_operations(run: RotationRun) -> list[str]:
    """Return the names of what can be done with a run now."""
    return [name for name, page in RUN_OPERATIONS.items() if page.is_possible(run)]
