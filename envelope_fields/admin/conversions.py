"""Fields under conversion: the list, and the page of each, with its steps."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst

from envelope_fields.admin import counts, requests, runs
from envelope_fields.admin.confirmation import confirm
from envelope_fields.admin.conversion_steps import STEPS, StepPage
from envelope_fields.admin.counts import number_text
from envelope_fields.census import CensusFailed
from envelope_fields.conf import keys_database
from envelope_fields.conversion import representation
from envelope_fields.conversion.column_phases import phase_row
from envelope_fields.conversion.moves import runs_of_field
from envelope_fields.conversion.phases import keys_of
from envelope_fields.lifecycle.keys import has_permission
from envelope_fields.models import ColumnConversion, ConversionKind
from envelope_fields.policy import Action

RUNS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Shown:
    """How far a field is, for a page.

    Attributes:
        field: the field.
        row: of its phase; None where its conversion has not begun.
        content: what was counted; None where it could not be.
        counted_at: when, where that was not now.
        problem: why it could not be.
        url: of its page.
    """

    field: Any
    row: ColumnConversion | None
    content: dict[str, Any] | None
    counted_at: datetime | None
    problem: str
    url: str

    @property
    def label(self) -> str:
        return str(self.field)

    @property
    def kind(self) -> str:
        moves = representation.moves_beside(self.field)
        return str((ConversionKind.COLUMN if moves else ConversionKind.LEGACY).label)

    @property
    def phase(self) -> str:
        return str(representation.phase_of(self.field, self.row).label)

    @property
    def since(self) -> datetime | None:
        return self.row.changed_at if self.row else None

    @property
    def numbers(self) -> list[tuple[str, str]]:
        """What was counted, each with what it is."""
        found = self.content
        if found is None:
            return []
        return [(text, number_text(number)) for text, number in representation.numbers(found)]


class ColumnConversionAdmin(requests.ReadOnlyAdmin):
    """The fields whose keys the user may see, also those of which nothing has begun."""

    class Media:
        css: ClassVar = {"all": ["envelope_fields/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[ColumnConversion]:
        # The pages are of fields: one that has not begun has no row.
        return super().get_queryset(request).none()

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.field_view)
        name = "envelope_fields_columnconversion_field"
        step = self.admin_site.admin_view(self.step_view)
        # A worker must not begin with a run before every connection can read that it goes on.
        alone = transaction.non_atomic_requests(keys_database())(step)
        return [
            path("fields/<str:label>/", page, name=name),
            path(
                "fields/<str:label>/steps/<str:step>/",
                alone,
                name="envelope_fields_columnconversion_step",
            ),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """List the fields."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        found = [_shown(request, field) for field in _seen(request).values()]
        title = capfirst(self.opts.verbose_name_plural)
        context = {**self._context(request), "title": title, "rows": found}
        return TemplateResponse(request, f"{_TEMPLATES}/change_list.html", context)

    def field_view(self, request: HttpRequest, label: str) -> HttpResponseBase:
        """Show how far a field is."""
        field = _seen(request).get(label)
        if field is None or not self.has_view_permission(request):
            raise Http404
        request.current_app = self.admin_site.name
        context = {
            **self._context(request),
            "title": label,
            "row": _shown(request, field),
            "steps": self._steps(request, field),
            **_runs(request, field),
        }
        return TemplateResponse(request, f"{_TEMPLATES}/field.html", context)

    def step_view(self, request: HttpRequest, label: str, step: str) -> HttpResponseBase:
        """Ask before something is done with a field, or do it."""
        page, field = STEPS.get(step), _seen(request).get(label)
        if page is None or field is None or not self.has_view_permission(request):
            raise Http404
        keys = keys_of(field, keys_database())
        if not requests.may(request, page.operation_of, *keys):
            refused = (key for key in keys if not requests.may(request, page.operation_of, key))
            raise requests.refuse(request, page.operation_of.action, next(refused, None))
        request.current_app = self.admin_site.name
        return confirm(
            self._page(request, page, field),
            lambda: {**self._context(request), "original": label},
        )

    def _steps(self, request: HttpRequest, field: Any) -> list[dict[str, str]]:
        keys = keys_of(field, keys_database())
        return [
            {
                "name": name,
                "text": str(page.text),
                "url": requests.page_url(request, "columnconversion_step", str(field), name),
            }
            for name, page in STEPS.items()
            if requests.may(request, page.operation_of, *keys)
            and self._page(request, page, field).is_possible
        ]

    def _page(self, request: HttpRequest, page: type[StepPage], field: Any) -> StepPage:
        back = requests.page_url(request, "columnconversion_field", str(field))
        return page(request, field, back, lambda run: runs.url_of_run(request, run) or back)

    def _context(self, request: HttpRequest) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}


_TEMPLATES = "admin/envelope_fields/columnconversion"


def _seen(request: HttpRequest) -> dict[str, Any]:
    """Return the fields whose keys the user may describe, by their labels."""
    using, fields = keys_database(), representation.converted_fields()
    keys = {label: keys_of(field, using) for label, field in fields.items()}
    allowed = requests.policies_allow(request, [key for mine in keys.values() for key in mine])
    return {
        label: field
        for label, field in fields.items()
        if all(Action.DESCRIBE in allowed[key.pk] for key in keys[label])
    }


def _shown(request: HttpRequest, field: Any) -> Shown:
    row = phase_row(field)
    url = requests.page_url(request, "columnconversion_field", str(field))
    # Under another name in another phase, so that what is kept never says an old one.
    name = f"{field}:{row.phase}:{row.changed_at}" if row else str(field)
    try:
        content, counted_at = counts.kept(name, lambda: representation.conversion_content(field))
    except CensusFailed as error:
        return Shown(field, row, None, None, str(error), url)
    return Shown(field, row, content, counted_at, "", url)


def _runs(request: HttpRequest, field: Any) -> dict[str, Any]:
    """Return the latest runs of a field, and the one that is not over."""
    may_see = has_permission(request.user, "view_rotationrun")
    latest = list(runs_of_field(field)[:RUNS_SHOWN]) if may_see else []
    return runs.latest_context(request, latest)
