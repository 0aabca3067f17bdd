"""Fields under conversion: the list, and the page of each, with its steps as each is confirmed."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils.text import capfirst
from django.utils.translation import gettext as _, gettext_lazy

from envelope_fields.admin import counts, requests
from envelope_fields.admin.confirmation import ConfirmationPage, KeyConfirmation, buttons, confirm
from envelope_fields.admin.runs import latest_context
from envelope_fields.admin.starts import StartPage
from envelope_fields.census import CensusFailed
from envelope_fields.conf import keys_database
from envelope_fields.conversion import phases, representation, runs, single_steps
from envelope_fields.conversion.phases import ConversionRefused, Phase
from envelope_fields.conversion.sample import refuse_unopened, sample
from envelope_fields.jobs.dispatch import dispatch_start
from envelope_fields.lifecycle import Operation
from envelope_fields.models import ColumnPhase, ConversionKind, RotationKind, RotationRun
from envelope_fields.policy import Action, acting_as

_LIST = "admin/envelope_fields/columnconversion/change_list.html"
_PAGE = "admin/envelope_fields/columnconversion/field.html"


class ColumnConversionAdmin(requests.ReadOnlyAdmin):
    """The fields whose keys the user may see, also those of which nothing has begun."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # The pages are of fields: one that has not begun has no row.
        return super().get_queryset(request).none()

    def get_urls(self) -> list[URLPattern]:
        return [
            self.own_path("fields/<str:label>/", self.field_view, "field"),
            self.own_path("fields/<str:label>/steps/<str:step>/", self.step_view, "step"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """List the fields."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        context = {
            **self.own_context(request),
            "title": capfirst(self.opts.verbose_name_plural),
            "rows": [ConvertedField(field) for field in _seen(request).values()],
        }
        return TemplateResponse(request, _LIST, context)

    def field_view(self, request: HttpRequest, label: str) -> HttpResponseBase:
        """Show how far a field is."""
        field = self._field(request, label)
        row, may_see = ConvertedField(field), requests.may_view_runs(request)
        pages = {name: page(request, row, "") for name, page in STEPS.items()}
        keys = phases.keys_of(field, keys_database())
        steps = buttons(pages, keys, "columnconversion_step", label)
        context = {
            **self.own_context(request),
            "title": label,
            "row": row,
            "steps": [each for each in steps if not each["is_hidden"]],
            **latest_context(request, runs.runs_of_field(field) if may_see else None),
        }
        return TemplateResponse(request, _PAGE, context)

    def step_view(self, request: HttpRequest, label: str, step: str) -> HttpResponseBase:
        """Ask before something is done with a field, or do it."""
        page, field = STEPS.get(step), self._field(request, label)
        if page is None:
            raise Http404
        requests.require(request, page.operation, *phases.keys_of(field, keys_database()))
        back = requests.page_url(request, "columnconversion_field", label)
        return confirm(page(request, ConvertedField(field), back), self, label)

    def _field(self, request: HttpRequest, label: str) -> Any:
        field = _seen(request).get(label)
        if field is None or not self.has_view_permission(request):
            raise requests.hide(request, Action.DESCRIBE, None)
        return field


def _seen(request: HttpRequest) -> dict[str, Any]:
    """Return the fields whose keys the user may describe, by their labels."""
    fields = representation.converted_fields()
    keys = {label: phases.keys_of(field, keys_database()) for label, field in fields.items()}
    allowed = requests.policies_allow(request, [key for mine in keys.values() for key in mine])
    return {
        label: field
        for label, field in fields.items()
        if all(Action.DESCRIBE in allowed[key.pk] for key in keys[label])
    }


class ConvertedField:
    """A field under conversion, and how far it is; its values are counted when they are shown."""

    def __init__(self, field: Any) -> None:
        row = phases.phase_row(field)
        self.field, self.label = field, str(field)
        self.moves_beside = representation.moves_beside(field)
        kind = ConversionKind.COLUMN if self.moves_beside else ConversionKind.LEGACY
        self.is_at: Any = representation.phase_of(field, row)
        self.kind, self.phase = str(kind.label), str(self.is_at.label)
        self.since = row.changed_at if row else None  # None where it has not begun

    def __str__(self) -> str:
        return self.label

    @cached_property
    def counted(self) -> dict[str, Any]:
        """The numbers, each with what it is, and when, where not now; or why there are none."""
        # Under another name in another phase, so that what is kept never says an old one.
        name = f"{self}:{self.is_at}:{self.since}"
        try:
            content, at = counts.kept(name, lambda: representation.conversion_content(self.field))
        except CensusFailed as error:
            return {"numbers": [], "problem": str(error)}
        found = representation.numbers(content)
        return {"numbers": [(text, counts.number_text(number)) for text, number in found], "at": at}


class StepPage(ConfirmationPage):
    """Something that is done with the conversion of a field."""

    row: ConvertedField

    def etag(self) -> str:
        return ""  # a step leads from one phase alone, which is asked under the lock

    @property
    def standing(self) -> str:
        text = _("%(field)s is %(phase)s: there is nothing to do here.")
        return text % {"field": self.row, "phase": self.row.phase}


class ToPhase(StepPage):
    """One phase on."""

    operation = Operation.CHANGE_CONVERSION_PHASE
    to: ColumnPhase
    lead = staticmethod(single_steps.following)

    @property
    def is_possible(self) -> bool:
        return self.row.moves_beside and self.lead(self.row.is_at) == self.to

    @cached_property
    def problem(self) -> str:
        try:
            single_steps.refuse_too_early(self.row.field, self.row.is_at, self.to)
        except (ConversionRefused, CensusFailed) as error:
            return str(error)
        return ""

    def consequences(self) -> list[str]:
        return [] if self.problem else [*_WHAT[self.to](), KeyConfirmation.when_it_holds()]

    def perform(self) -> str:
        self.check()
        single_steps.take_step(self.row.field, self.row.is_at, self.to, actor=self.actor)
        return _("%(field)s: %(phase)s.") % {"field": self.row, "phase": self.to.label}


class BackToPhase(ToPhase):
    """One phase back."""

    lead = staticmethod(single_steps.previous)


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


class StartConversionRun(StartPage, StepPage):
    """Has a worker go through all rows."""

    operation = Operation.START_CONVERSION
    kind: RotationKind

    @property
    def is_possible(self) -> bool:
        under_way = runs.active(self.row.field)
        return self.is_for_phase() and not under_way.exists()

    def is_for_phase(self) -> bool:
        """Whether the phase of the field is for such a run."""
        return self.row.moves_beside and self.kind in single_steps.possible_runs(self.row.is_at)

    @property
    def command(self) -> str:
        to = self.row.is_at if self.row.moves_beside else Phase.CONVERTING
        return f"convert_field {self.row} --to {to}"

    def what(self) -> list[str]:
        text = _(
            "Every row is gone through. Values can be read and written all the while. The run can "
            "be paused, and be cancelled. No value is shown."
        )
        return [text]

    def perform(self) -> str:
        self.check()
        return super().perform()

    def start(self) -> RotationRun:
        return single_steps.start_run(
            self.row.field, self.kind, limits=self.form.limits(), actor=self.actor
        )


class Convert(StartConversionRun):
    kind = RotationKind.CONVERT

    def is_for_phase(self) -> bool:
        return not self.row.moves_beside and self.row.is_at != Phase.FINISHED

    def start(self) -> RotationRun:
        field, limits = self.row.field, self.form.limits()
        with acting_as(self.actor):
            sampled = sample(field)
        refuse_unopened(field, sampled, skip_unreadable=False)
        start = partial(runs.start, self.kind, field, limits=limits, actor=self.actor)
        return dispatch_start(start)


class Finish(StepPage):
    operation = Operation.FINISH_CONVERSION
    is_grave = True

    @property
    def is_possible(self) -> bool:
        return not self.row.moves_beside and self.row.is_at != Phase.FINISHED

    def consequences(self) -> list[str]:
        return [
            _("This is final. It is refused while a value is left in another format."),
            _("What another package stores from then on is an error, and no run converts it."),
        ]

    def perform(self) -> str:
        self.check()
        phases.finish(self.row.field, actor=self.actor)
        return _("The conversion of %(field)s is finished.") % {"field": self.row}


def _page(base: type[StepPage], text: Any, **attributes: Any) -> type[StepPage]:
    return type(base.__name__, (base,), {"text": text, **attributes})


# By the names in addresses, in the order of the buttons.
STEPS: dict[str, type[StepPage]] = {
    "convert": Convert,
    "finish": Finish,
    "fill": _page(StartConversionRun, gettext_lazy("Fill"), kind=RotationKind.FILL),
    "compare": _page(StartConversionRun, gettext_lazy("Compare"), kind=RotationKind.COMPARE),
    "empty": _page(
        StartConversionRun,
        gettext_lazy("Empty the column in clear"),
        kind=RotationKind.EMPTY,
        is_grave=True,
    ),
    "both": _page(ToPhase, gettext_lazy("Write both"), to=ColumnPhase.BOTH),
    "filling": _page(ToPhase, gettext_lazy("To filling"), to=ColumnPhase.FILLING),
    "verified": _page(ToPhase, gettext_lazy("To verified"), to=ColumnPhase.VERIFIED),
    "encrypted": _page(ToPhase, gettext_lazy("Read encrypted"), to=ColumnPhase.ENCRYPTED),
    "only": _page(ToPhase, gettext_lazy("Only encrypted"), to=ColumnPhase.ONLY, is_grave=True),
    "back-to-clear": _page(BackToPhase, gettext_lazy("Back to clear"), to=ColumnPhase.CLEAR),
    "back-to-both": _page(BackToPhase, gettext_lazy("Back to both"), to=ColumnPhase.BOTH),
    "back-to-filling": _page(BackToPhase, gettext_lazy("Back to filling"), to=ColumnPhase.FILLING),
    "back-to-verified": _page(
        BackToPhase, gettext_lazy("Back to verified"), to=ColumnPhase.VERIFIED
    ),
}
