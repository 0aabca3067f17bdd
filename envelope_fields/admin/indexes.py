"""Blind indexes: the list, and the page of each, with the steps that are possible now."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern
from django.utils.translation import gettext as _now, gettext_lazy as _

from envelope_fields.admin import counts, requests, runs
from envelope_fields.admin.confirmation import buttons, confirm
from envelope_fields.admin.counts import number_text
from envelope_fields.admin.index_steps import STEPS
from envelope_fields.census import CensusFailed, CensusRow
from envelope_fields.census.indexes import missing_in
from envelope_fields.indexing import representation
from envelope_fields.indexing.runs import runs_of_index
from envelope_fields.lifecycle.keys import open_keys
from envelope_fields.models import BlindIndex, IndexState, MasterKey, RotationRun
from envelope_fields.policy import Action


class IndexList(ChangeList):
    """A page of indexes that knows how far they are, in as many queries as for one."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        count = counts.for_a_page()
        for row, found in zip(rows, representation.standings(rows), strict=True):
            row.standing, row.count = found, count
        self.result_list: Any = rows


class BlindIndexAdmin(requests.ReadOnlyAdmin):
    """The indexes whose search keys the user may see."""

    list_display = ("label", "state", "since", "pinned", "rows", "lacking", "verified")
    list_filter = ("state",)
    search_fields = ("label",)
    change_form_template = "admin/envelope_fields/blindindex/change_form.html"
    fields = (
        "label", "of_fields", "state", "state_changed_at", "created_at", "options", "normalized",
        "pinned", "verified",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[BlindIndex]:
        return representation.indexes_of(open_keys(Action.DESCRIBE, request.user)).order_by("label")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return IndexList

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        row: Any = super().get_object(request, *args, **kwargs)
        if row is not None:
            row.standing, row.count = representation.standing(row), counts.for_a_page()
        return row

    @admin.display(description=_("since"), ordering="state_changed_at")
    def since(self, row: BlindIndex) -> Any:
        return row.state_changed_at

    @admin.display(description=_("pinned to"))
    def pinned(self, row: Any) -> str:
        pins = row.standing.pins
        if len(pins) > 1:
            return _now("%(keys)s search keys") % {"keys": number_text(len(pins))}
        return ", ".join(
            _now("%(key)s, version %(number)d")
            % {"key": pin.master_key, "number": pin.version.number}
            for pin in pins
        )

    @admin.display(description=_("rows"))
    def rows(self, row: Any) -> str:
        if row.count.at is None:
            return ""
        return number_text(counts.total(_rows_of(row)))

    @admin.display(description=_("without an index"))
    def lacking(self, row: Any) -> str:
        is_wanted = row.state == IndexState.FILLING
        return _missing_text(row.standing) if is_wanted else ""

    @admin.display(description=_("verified"), boolean=True)
    def verified(self, row: Any) -> bool | None:
        return None if row.state == IndexState.RETIRED else row.standing.is_verified

    @admin.display(description=_("fields"))
    def of_fields(self, row: Any) -> str:
        return ", ".join(representation.index_content(row.standing)["fields"]) or _now(
            "no model has it any more"
        )

    @admin.display(description=_("normalizer"))
    def normalized(self, row: BlindIndex) -> str:
        names = {"name": row.normalizer, "number": row.normalizer_version}
        return _now("%(name)s, version %(number)d") % names

    @admin.display(description=_("options"))
    def options(self, row: Any) -> str:
        content = representation.index_content(row.standing)
        texts = [_now("unique")] if content["unique"] else []
        for text, value in (
            (_now("scope: %(value)s"), ", ".join(content["scope"])),
            (_now("shared: %(value)s"), content["shared"]),
            (_now("replaces: %(value)s"), content["replaces"]),
        ):
            texts += [text % {"value": value}] if value else []
        return "; ".join(texts) or "\N{EN DASH}"

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        row = kwargs["obj"]
        request.current_app = self.admin_site.name
        more = {
            "subtitle": row.label,
            "steps": [each for each in self._steps(request, row) if not each["is_hidden"]],
            "versions": _versions(row),
            "count": row.count,
            "missing": _missing_text(row.standing),
            **runs.latest_context(request, _runs(request, row.standing)),
        }
        return super().render_change_form(request, {**context, **more}, *args, **kwargs)

    def _steps(self, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
        pages = {name: page(request, row.standing, "") for name, page in STEPS.items()}
        return buttons(pages, _keys_of(row.standing), "blindindex_step", row.pk)

    def get_urls(self) -> list[URLPattern]:
        step = self.own_path("<int:pk>/steps/<str:name>/", self.step_view, "step")
        return [step, *super().get_urls()]

    def step_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponseBase:
        """Ask before something is done with an index, or do it."""
        page, row = STEPS.get(name), self.get_queryset(request).filter(pk=pk).first()
        if page is None:
            raise Http404
        if row is None or not self.has_view_permission(request):
            raise requests.hide(request, page.operation.action, None)
        found = representation.standing(row)
        requests.require(request, page.operation, *_keys_of(found))
        if found.field is None:
            raise Http404
        back = requests.page_url(request, "blindindex_change", row.pk)
        return confirm(page(request, found, back), self, row.label)


def _keys_of(found: representation.Standing) -> list[MasterKey]:
    return [pin.master_key for pin in found.pins]


def _rows_of(row: Any) -> list[CensusRow]:
    """Pick what was counted of an index."""
    field = row.standing.field
    if field is None:
        return []
    names = (field.model._meta.label, field.name)
    return [each for each in row.count.rows if (each.model, each.field) == names]


def _versions(row: Any) -> list[dict[str, Any]]:
    """Return how many rows there are under each key version."""
    return [
        {
            "where": counts.field_path(each),
            "key": each.version.key_alias or each.version.key_id if each.version else None,
            "number": each.version.number if each.version else None,
            "values": number_text(each.values),
        }
        for each in _rows_of(row)
    ]


def _missing_text(found: representation.Standing) -> str:
    if found.field is None:
        return ""
    try:
        return number_text(missing_in(found.field))
    except CensusFailed:
        return "\N{EN DASH}"


def _runs(request: HttpRequest, found: representation.Standing) -> QuerySet[RotationRun] | None:
    may_see = found.field is not None and requests.may_view_runs(request)
    return runs_of_index(found.field) if may_see else None
