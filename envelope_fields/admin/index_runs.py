"""What goes through the rows of a blind index, as it is confirmed: runs, and a dry run."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _

from envelope_fields.admin.confirmation import ConfirmationPage
from envelope_fields.admin.counts import number_text
from envelope_fields.admin.limits import LimitsForm
from envelope_fields.admin.rotation_start import worker_problem
from envelope_fields.indexing import collisions, find_indexes, runs
from envelope_fields.indexing.representation import Standing, collisions_content
from envelope_fields.indexing.rows import IndexedTable
from envelope_fields.jobs.runs import RotationUnderWay
from envelope_fields.lifecycle import Operation
from envelope_fields.models import IndexState, RotationKind, RotationRun
from envelope_fields.policy import acting_as

PAIRS_SHOWN = 20


class IndexPage(ConfirmationPage):
    """Something that is done with one index.

    Attributes:
        found: how far the index is.
    """

    operation_of: ClassVar[Operation]

    def __init__(
        self, request: HttpRequest, found: Standing, back: str, url: Callable[[RotationRun], str]
    ) -> None:
        super().__init__(self.operation_of, request, found.row, back)
        self.found = found
        self.url = url

    @property
    def title(self) -> str:
        return f"{self.button}: {self.row}"

    @cached_property
    def tables(self) -> list[IndexedTable]:
        """Its tables.

        Raises:
            NoSuchIndex: no model has it.
        """
        return find_indexes([self.row.label])

    @classmethod
    def is_possible(cls, found: Standing) -> bool:
        """Whether it changes something now."""
        return found.field is not None


class StartRun(IndexPage):
    """Has a worker go through all rows."""

    form_class = LimitsForm
    kind: ClassVar[RotationKind]

    @classmethod
    def is_possible(cls, found: Standing) -> bool:
        return super().is_possible(found) and found.run is None

    @cached_property
    def problem(self) -> str:
        return worker_problem(f"python manage.py {self.operation.command} {self.row.label}")

    def check(self) -> None:
        if self.found.run is not None:
            raise RotationUnderWay(f"The blind index {self.row}", self.found.run)

    def consequences(self) -> list[str]:
        return [
            *self.what(),
            _(
                "Values can be read and written all the while. The run can be paused, and be "
                "cancelled. No value is shown, and it counts as no use of a key."
            ),
            _("It is done in your name, and ends if you lose the right to it."),
        ]

    def what(self) -> list[str]:
        """Say what is done with the rows."""
        raise NotImplementedError

    def perform(self) -> str:
        table = self.tables[0]
        run = runs.start_dispatched(
            table.index, self.kind, using=table.using, limits=self.form.limits(), actor=self.actor
        )
        self.back = self.url(run)
        return _("The run over the rows of %(index)s has begun.") % {"index": self.row}


class Rebuild(StartRun):
    operation_of = Operation.REBUILD_INDEX
    kind = RotationKind.REBUILD_INDEX

    def what(self) -> list[str]:
        if self.row.state == IndexState.RETIRED:
            return [_("It is retired: what it still has is emptied, in every row.")]
        return [
            _("The values of every row are opened."),
            _("The index is written where it is not what the values give."),
        ]


class Verify(StartRun):
    operation_of = Operation.VERIFY_INDEX
    kind = RotationKind.VERIFY_INDEX

    def what(self) -> list[str]:
        return [
            _("The values of every row are opened, and the index is compared with them."),
            _("Nothing is written. Rows that are wrong are listed, by their primary keys."),
        ]


class FindCollisions(IndexPage):
    """A dry run: nothing is written, and what was found is said on the page."""

    operation_of = Operation.REBUILD_INDEX

    @classmethod
    def is_possible(cls, found: Standing) -> bool:
        return super().is_possible(found) and found.row.state != IndexState.RETIRED

    @property
    def button(self) -> str:
        return _("Look for collisions")

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
        text = _("%(values)s rows have a normal form, and no two have the same.")
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
