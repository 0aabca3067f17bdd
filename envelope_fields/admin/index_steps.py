"""The states of a blind index, as each step is confirmed; and all that can be done with one."""

from functools import cached_property
from typing import Any, ClassVar

from django.utils.formats import date_format
from django.utils.timezone import template_localtime  # type: ignore[attr-defined]  # not in the stubs
from django.utils.translation import gettext as _, gettext_lazy

from envelope_fields.admin.confirmation import KeyConfirmation
from envelope_fields.admin.counts import number_text
from envelope_fields.admin.index_runs import FindCollisions, IndexPage, Rebuild, Verify
from envelope_fields.exceptions import IndexNotReady
from envelope_fields.indexing import change_state
from envelope_fields.indexing.representation import Standing
from envelope_fields.indexing.steps import lets_builds_write, refuse_too_early
from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.index_states import possible_states
from envelope_fields.models import IndexState


class ChangeState(IndexPage):
    """One step from state to state."""

    operation_of = Operation.CHANGE_INDEX
    to: ClassVar[IndexState]
    text: ClassVar[Any]

    @classmethod
    def is_possible(cls, found: Standing) -> bool:
        return super().is_possible(found) and cls.to in possible_states(found.row.state)

    @property
    def button(self) -> str:
        return str(self.text)

    @cached_property
    def problem(self) -> str:
        try:
            refuse_too_early(self.found.field, self.to)
        except IndexNotReady as error:
            return str(error)
        return ""

    @property
    def lets_builds_write(self) -> bool:
        return lets_builds_write(self.found.field, self.to)

    @property
    def can_be_done(self) -> bool:
        return not self.problem or self.lets_builds_write

    def check(self) -> None:
        if not self.is_possible(self.found):
            raise IndexNotReady(
                _("The index %(index)s is %(state)s: there is nothing to do here.")
                % {"index": self.row, "state": self.row.get_state_display()}
            )

    def consequences(self) -> list[str]:
        if self.lets_builds_write:
            return [
                _("Builds that do not write it are refused from now on."),
                _("When every process knows, rebuild it, verify it, and come back."),
            ]
        if self.problem:
            return []
        return [*self.what(), KeyConfirmation.when_it_holds()]

    def what(self) -> list[str]:
        """Say what is different in the state."""
        raise NotImplementedError

    def perform(self) -> str:
        change_state(self.found.field, self.to, actor=self.actor)
        return _("The index %(index)s is %(state)s.") % {"index": self.row, "state": self.to.label}


class ToVerified(ChangeState):
    to = IndexState.VERIFIED
    text = gettext_lazy("To verified")

    def what(self) -> list[str]:
        if self.row.state == IndexState.READING:
            return [
                _("Lookups end: they fail until it is reading again."),
                _("Every process goes on writing it."),
            ]
        return [*_compared_texts(self.found), _("No lookup asks it yet.")]


class ToReading(ChangeState):
    to = IndexState.READING
    text = gettext_lazy("To reading")

    def what(self) -> list[str]:
        return [*_compared_texts(self.found), _("Lookups ask it.")]


class ToFilling(ChangeState):
    to = IndexState.FILLING
    text = gettext_lazy("Back to filling")

    def what(self) -> list[str]:
        return [
            _("Lookups fail until it has been verified again, and is reading."),
            _("Every process goes on writing it."),
        ]


class Retire(ChangeState):
    to = IndexState.RETIRED
    text = gettext_lazy("Retire")
    is_grave = True

    def what(self) -> list[str]:
        return [
            _("This is permanent: no process writes it or asks it any more."),
            _("Rebuild it once more afterwards, which empties it; then its column can go."),
        ]


def _compared_texts(found: Standing) -> list[str]:
    """Say what the last verification has found; nothing where there was none."""
    run, compared = found.verification, found.compared
    if run is None or compared is None:
        return []
    at = run.finished_at or run.created_at
    text = _("The last verification, on %(time)s, compared %(rows)s rows: %(wrong)s are wrong.")
    numbers = {
        "time": date_format(template_localtime(at), "DATETIME_FORMAT"),
        "rows": number_text(compared.total),
        "wrong": number_text(compared.failed),
    }
    return [text % numbers]


# By the names in addresses, in the order of the buttons.
STEPS: dict[str, type[IndexPage]] = {
    "collisions": FindCollisions,
    "rebuild": Rebuild,
    "verify": Verify,
    "verified": ToVerified,
    "reading": ToReading,
    "filling": ToFilling,
    "retired": Retire,
}


def step_text(name: str) -> str:
    """Return what is on the button of a step."""
    page = STEPS[name]
    if page is FindCollisions:
        return _("Look for collisions")
    return str(page.text if issubclass(page, ChangeState) else page.operation_of.button)
