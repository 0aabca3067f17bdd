"""Steps of a conversion, as each is confirmed; and all that can be done with one."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, ClassVar

from django.http import HttpRequest
from django.utils.translation import gettext as _, gettext_lazy

from envelope_fields import conversion
from envelope_fields.admin.confirmation import ConfirmationPage, KeyConfirmation
from envelope_fields.admin.limits import LimitsForm
from envelope_fields.admin.rotation_start import worker_problem
from envelope_fields.census import CensusFailed
from envelope_fields.conversion import ConversionRefused, Phase, single_steps
from envelope_fields.conversion.column_phases import phase_row
from envelope_fields.conversion.moves import runs_of_field
from envelope_fields.conversion.representation import moves_beside, phase_of
from envelope_fields.jobs.dispatch import dispatch_start
from envelope_fields.lifecycle import Operation
from envelope_fields.models import ACTIVE_STATES, ColumnPhase, RotationKind, RotationRun
from envelope_fields.policy import acting_as


class StepPage(ConfirmationPage):
    """Something that is done with the conversion of a field.

    Attributes:
        row: the field.
        phase: its phase.
    """

    operation_of: ClassVar[Operation]
    text: Any = ""

    def __init__(
        self, request: HttpRequest, field: Any, back: str, url: Callable[[RotationRun], str]
    ) -> None:
        super().__init__(self.operation_of, request, field, back)
        self.phase: Any = phase_of(field, phase_row(field))
        self.url = url

    @property
    def button(self) -> str:
        return str(self.text)

    @property
    def title(self) -> str:
        return f"{self.button}: {self.row}"

    def etag(self) -> str:
        return ""  # a step leads from one phase alone, which is asked under the lock

    @property
    def is_possible(self) -> bool:
        """Whether it changes something in the phase of the field."""
        raise NotImplementedError

    def check(self) -> None:
        if not self.is_possible:
            raise ConversionRefused(
                _("%(field)s is %(phase)s: there is nothing to do here.")
                % {"field": self.row, "phase": self.phase.label}
            )


# A column in clear


class ToPhase(StepPage):
    """One phase on, or back."""

    operation_of = Operation.CHANGE_CONVERSION_PHASE
    to: ColumnPhase
    is_back = False

    @property
    def is_possible(self) -> bool:
        if not moves_beside(self.row):
            return False
        lead = single_steps.previous if self.is_back else single_steps.following
        return lead(self.phase) == self.to

    @cached_property
    def problem(self) -> str:
        try:
            single_steps.refuse_too_early(self.row, self.phase, self.to)
        except (ConversionRefused, CensusFailed) as error:
            return str(error)
        return ""

    def consequences(self) -> list[str]:
        return [] if self.problem else [*_WHAT[self.to](), KeyConfirmation.when_it_holds()]

    def perform(self) -> str:
        self.check()
        single_steps.take_step(self.row, self.phase, self.to, actor=self.actor)
        return _("%(field)s: %(phase)s.") % {"field": self.row, "phase": self.to.label}


_WHAT: dict[ColumnPhase, Callable[[], list[str]]] = {
    ColumnPhase.CLEAR: lambda: [_("Values are read from the column in clear, and written there.")],
    ColumnPhase.BOTH: lambda: [
        _("Values are written into both columns, and read from the one in clear.")
    ],
    ColumnPhase.FILLING: lambda: [
        _("Runs may fill the encrypted column. Values are read from the one in clear.")
    ],
    ColumnPhase.VERIFIED: lambda: [
        _("Values are read from the column in clear, and written into both.")
    ],
    ColumnPhase.ENCRYPTED: lambda: [
        _("Values are read from the encrypted column, and written into both."),
        _("Filters by the field ask its blind index, or are refused."),
    ],
    ColumnPhase.ONLY: lambda: [
        _("This is final: there is no way back."),
        _("The column in clear is not written any more. Empty it afterwards."),
    ],
}


def _to(to: ColumnPhase, text: Any, *, is_back: bool = False) -> type[ToPhase]:
    attributes = {"to": to, "text": text, "is_back": is_back, "is_grave": to == ColumnPhase.ONLY}
    return type(f"To_{to}", (ToPhase,), attributes)


# Runs


class StartRun(StepPage):
    """Has a worker go through all rows."""

    operation_of = Operation.START_CONVERSION
    form_class = LimitsForm
    kind: RotationKind

    @property
    def is_possible(self) -> bool:
        is_idle = not runs_of_field(self.row).filter(state__in=ACTIVE_STATES).exists()
        return is_idle and self.is_for_phase()

    def is_for_phase(self) -> bool:
        return moves_beside(self.row) and self.kind in single_steps.possible_runs(self.phase)

    @cached_property
    def problem(self) -> str:
        to = self.phase if moves_beside(self.row) else Phase.CONVERTING
        return worker_problem(f"python manage.py convert_field {self.row} --to {to}")

    def consequences(self) -> list[str]:
        return [
            _(
                "Every row is gone through. Values can be read and written all the while. The run "
                "can be paused, and be cancelled. No value is shown."
            ),
            _("It is done in your name, and ends if you lose the right to it."),
        ]

    def perform(self) -> str:
        self.check()
        self.back = self.url(self.begun())
        return _("The run over the rows of %(field)s has begun.") % {"field": self.row}

    def begun(self) -> RotationRun:
        return single_steps.start_run(
            self.row, self.kind, limits=self.form.limits(), actor=self.actor
        )


class Fill(StartRun):
    kind = RotationKind.FILL
    text = gettext_lazy("Fill")


class Compare(StartRun):
    kind = RotationKind.COMPARE
    text = gettext_lazy("Compare")


class Empty(StartRun):
    kind = RotationKind.EMPTY
    text = gettext_lazy("Empty the column in clear")
    is_grave = True


# What another package has stored


class Convert(StartRun):
    kind = RotationKind.CONVERT
    text = gettext_lazy("Convert")

    def is_for_phase(self) -> bool:
        return not moves_beside(self.row) and self.phase != Phase.FINISHED

    def begun(self) -> RotationRun:
        with acting_as(self.actor):
            sampled = conversion.sample(self.row)
        conversion.refuse_unopened(self.row, sampled, skip_unreadable=False)
        limits = self.form.limits()
        return dispatch_start(partial(conversion.start, self.row, limits=limits, actor=self.actor))


class Finish(StepPage):
    operation_of = Operation.FINISH_CONVERSION
    text = gettext_lazy("Finish")
    is_grave = True

    @property
    def is_possible(self) -> bool:
        return not moves_beside(self.row) and self.phase != Phase.FINISHED

    def consequences(self) -> list[str]:
        return [
            _("This is final. It is refused while a value is left in another format."),
            _("What another package stores from then on is an error, and no run converts it."),
        ]

    def perform(self) -> str:
        conversion.finish(self.row, actor=self.actor)
        return _("The conversion of %(field)s is finished.") % {"field": self.row}


# By the names in addresses, in the order of the buttons.
STEPS: dict[str, type[StepPage]] = {
    "convert": Convert,
    "finish": Finish,
    "fill": Fill,
    "compare": Compare,
    "empty": Empty,
    "both": _to(ColumnPhase.BOTH, gettext_lazy("Write both")),
    "filling": _to(ColumnPhase.FILLING, gettext_lazy("To filling")),
    "verified": _to(ColumnPhase.VERIFIED, gettext_lazy("To verified")),
    "encrypted": _to(ColumnPhase.ENCRYPTED, gettext_lazy("Read encrypted")),
    "only": _to(ColumnPhase.ONLY, gettext_lazy("Only encrypted")),
    "back-to-clear": _to(ColumnPhase.CLEAR, gettext_lazy("Back to clear"), is_back=True),
    "back-to-both": _to(ColumnPhase.BOTH, gettext_lazy("Back to both"), is_back=True),
    "back-to-filling": _to(ColumnPhase.FILLING, gettext_lazy("Back to filling"), is_back=True),
    "back-to-verified": _to(ColumnPhase.VERIFIED, gettext_lazy("Back to verified"), is_back=True),
}
