"""What is done with a blind index, as it is confirmed: runs, a dry run, and steps of its state."""

from functools import cached_property
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.timezone import template_localtime  # type: ignore[attr-defined]  # not in the stubs
from django.utils.translation import gettext as _, gettext_lazy

from envelope_fields.admin.confirmation import ConfirmationPage, KeyConfirmation
from envelope_fields.admin.counts import number_text
from envelope_fields.admin.starts import StartPage
from envelope_fields.exceptions import IndexNotReady
from envelope_fields.indexing import change_state, collisions, find_indexes, runs
from envelope_fields.indexing.representation import Standing, collisions_content
from envelope_fields.indexing.rows import IndexedTable
from envelope_fields.indexing.steps import lets_builds_write, refuse_too_early
from envelope_fields.jobs.runs import RotationUnderWay
from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.index_states import possible_states
from envelope_fields.models import IndexState, RotationKind, RotationRun
from envelope_fields.policy import acting_as

PAIRS_SHOWN = 20


class IndexPage(ConfirmationPage):
    """Something that is done with one index; `found` is how far it is."""

    def __init__(self, request: HttpRequest, found: Standing, back: str) -> None:
        super().__init__(request, found.row, back)
        self.found = found

    @property
    def is_possible(self) -> bool:
        return self.found.field is not None

    @property
    def standing(self) -> str:
        return _("The index %(index)s is %(state)s: there is nothing to do here.") % {
            "index": self.row,
            "state": self.row.get_state_display(),
        }

    @cached_property
    def tables(self) -> list[IndexedTable]:
        """Its tables.

        Raises:
            NoSuchIndex: no model has it.
        """
        return find_indexes([self.row.label])


class StartIndexRun(StartPage, IndexPage):
    """Has a worker go through all rows."""

    kind: ClassVar[RotationKind]

    @property
    def is_possible(self) -> bool:
        return super().is_possible and self.found.run is None

    @property
    def command(self) -> str:
        return f"{self.operation.command} {self.row.label}"

    def check(self) -> None:
        if self.found.run is not None:
            raise RotationUnderWay(f"The blind index {self.row}", self.found.run)

    def what(self) -> list[str]:
        return [
            *self.with_rows(),
            _(
                "Values can be read and written all the while. The run can be paused, and be "
                "cancelled. No value is shown, and it counts as no use of a key."
            ),
        ]

    def with_rows(self) -> list[str]:
        """Say what is done with the rows."""
        raise NotImplementedError

    def start(self) -> RotationRun:
        table = self.tables[0]
        return runs.start_dispatched(
            table.index, self.kind, using=table.using, limits=self.form.limits(), actor=self.actor
        )


class Rebuild(StartIndexRun):
    operation = Operation.REBUILD_INDEX
    kind = RotationKind.REBUILD_INDEX

    def with_rows(self) -> list[str]:
        if self.row.state == IndexState.RETIRED:
            return [_("It is retired: what it still has is emptied, in every row.")]
        return [
            _("The values of every row are opened."),
            _("The index is written where it is not what the values give."),
        ]


class Verify(StartIndexRun):
    operation = Operation.VERIFY_INDEX
    kind = RotationKind.VERIFY_INDEX

    def with_rows(self) -> list[str]:
        return [
            _("The values of every row are opened, and the index is compared with them."),
            _("Nothing is written. Rows that are wrong are listed, by their primary keys."),
        ]


class FindCollisions(IndexPage):
    """A dry run: nothing is written, and what was found is said on the page."""

    operation = Operation.REBUILD_INDEX
    text = gettext_lazy("Look for collisions")

    @property
    def is_possible(self) -> bool:
        return super().is_possible and self.row.state != IndexState.RETIRED

    def consequences(self) -> list[str]:
        return [
            _("The values of every row are opened now, which takes a while in a large table."),
            _("Rows with the same normal form are named, by their primary keys."),
            _("Nothing is written."),
        ]

    def perform(self) -> str:
        with acting_as(self.actor):
            found = [collisions_content(table, collisions(table)) for table in self.tables]
        values = sum(each["values"] for each in found)
        pairs = [pair for each in found for pair in each["collisions"]]
        failed = [row for each in found for row in each["failed"]]
        if pairs or failed:
            raise ValidationError([*_pair_texts(pairs), *_failure_texts(failed)])
        text = _("No two rows have the same normal form, of %(values)s.")
        return text % {"values": number_text(values)}


def _pair_texts(pairs: list[dict[str, Any]]) -> list[str]:
    if not pairs:
        return []
    text = _("Rows with the normal form of another one: %(rows)s.")
    lines = [text % {"rows": number_text(len(pairs))}]
    return [*lines, *map(_pair_text, pairs[:PAIRS_SHOWN])]


def _pair_text(pair: dict[str, Any]) -> str:
    text = _("%(row)s and %(other)s")
    if pair["constraint"]:
        text = _("%(row)s and %(other)s, by %(constraint)s")
    return text % {name: pair[name] for name in ("row", "other", "constraint")}


def _failure_texts(failed: list[dict[str, str]]) -> list[str]:
    return [f"{each['row']}: {each['message']}" for each in failed[:PAIRS_SHOWN]]


# -- Its states ------------------------------------------------------------------------------------


class ChangeState(IndexPage):
    """One step from state to state."""

    operation = Operation.CHANGE_INDEX
    to: ClassVar[IndexState]

    @property
    def is_possible(self) -> bool:
        return super().is_possible and self.to in possible_states(self.row.state)

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

    def consequences(self) -> list[str]:
        if self.lets_builds_write:
            return [
                _("Builds that do not write it are refused from now on."),
                _("When every process knows, rebuild it, verify it, and come back."),
            ]
        return [] if self.problem else [*self.what(), KeyConfirmation.when_it_holds()]

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
    text = _("Rows compared by the last verification, on %(time)s: %(rows)s. Wrong: %(wrong)s.")
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
