"""The list of runs, and the page of each: watched here, and not written by hand."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.urls import URLPattern, path
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from envelope_fields.admin import rights
from envelope_fields.admin.actors import actor_text
from envelope_fields.admin.answering import answered
from envelope_fields.admin.read_only import ReadOnlyAdmin
from envelope_fields.admin.rotations.acts import ACTS, answer, possible_acts
from envelope_fields.admin.rotations.addresses import url_of_run
from envelope_fields.admin.rotations.filters import KeyOfRunFilter
from envelope_fields.admin.rotations.telling import (
    FAILURES_SHOWN,
    done_text,
    run_text,
    told_in_full,
)
from envelope_fields.conf import keys_database
from envelope_fields.models import RotationRun
from envelope_fields.policy import Action
from envelope_fields.rotation import progress
from envelope_fields.jobs.progress import progress_of
from envelope_fields.jobs.runs import all_runs, keys_of, run_title, runs_of


class RunList(ChangeList):
    """A page of runs that knows how far they are, at the cost of two queries."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        runs: list[Any] = list(self.result_list)
        for run, each in zip(runs, progress_of(runs), strict=True):
            run.progress = each
        self.result_list: Any = runs


class RotationRunAdmin(ReadOnlyAdmin):
    """The rotations of keys that the user may see, newest first."""

    list_display = ("created_at", "key", "state", "done", "failed", "kind", "who")
    list_filter = ("state", "kind", KeyOfRunFilter, "created_at")
    search_fields = ("master_key__alias", "actor_name")
    search_help_text = _("Key or actor")
    change_form_template = "admin/envelope_fields/rotationrun/change_form.html"
    fields = (
        "master_key",
        "kind",
        "versions",
        "fields_moved",
        "limited",
        "who",
        "created_at",
        "id",
    )
    readonly_fields = (*fields, "finished_at")

    class Media:
        css: ClassVar = {"all": ["envelope_fields/admin.css"]}

    # What is seen

    def get_queryset(self, request: HttpRequest) -> QuerySet[RotationRun]:
        seen = rights.open_keys(request, Action.DESCRIBE)
        return runs_of(seen)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*self.fields, "finished_at") if obj and obj.finished_at else self.fields

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunList

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        run = kwargs["obj"]
        request.current_app = self.admin_site.name
        told = self._told(request, run)
        may = all(rights.may_change_run(request, key) for key in keys_of(run))
        acts = [
            {
                "name": name,
                "text": act.button,
                "url": url_of_run(request, run, "act", name),
                "is_hidden": name not in told["acts"],
            }
            for name, act in ACTS.items()
            if may
        ]
        more = {
            "subtitle": run_text(run),
            "run": told,
            "live_url": url_of_run(request, run, "progress"),
            "acts": acts,
            "failures_shown": FAILURES_SHOWN,
        }
        return super().render_change_form(request, {**context, **more}, *args, **kwargs)

    @admin.display(description=_("key"), ordering="master_key__alias")
    def key(self, run: RotationRun) -> str:
        return run_title(run)

    @admin.display(description=_("progress"))
    def done(self, run: Any) -> SafeString:
        told = run.progress
        return format_html(
            '<progress value="{}" max="{}" aria-label="{}"></progress> {}',
            str(told.total - told.remaining),  # as text, since a number would be written as people do
            str(told.total or 1),
            _now("moved"),
            done_text(run, told),
        )

    @admin.display(description=_("failed"))
    def failed(self, run: Any) -> str:
        return number_format(run.progress.failed, force_grouping=True)

    @admin.display(description=_("started by"), ordering="actor_name")
    def who(self, run: RotationRun) -> str:
        return actor_text(run)

    @admin.display(description=_("versions"))
    def versions(self, run: RotationRun) -> str:
        return ", ".join(map(str, run.only_versions)) or _now("all that are not current")

    @admin.display(description=_("fields"))
    def fields_moved(self, run: RotationRun) -> str:
        named = ", ".join(run.only_fields) or _now("all")
        where = _now("%(fields)s, in the database %(database)s")
        both = {"fields": named, "database": run.only_database}
        return where % both if run.only_database else named

    @admin.display(description=_("limits"))
    def limited(self, run: RotationRun) -> str:
        rate = run.limits.get("max_rate")
        if not rate:
            return _now("as fast as it can")
        return _now("at most %(rate)s values a second") % {"rate": number_format(rate)}

    # What may be done

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not super().has_view_permission(request, obj):
            return False
        return obj is None or all(
            Action.DESCRIBE in rights.policy_allows(request, key) for key in keys_of(obj)
        )

    # Acts, and what the script on the page asks for

    def get_urls(self) -> list[URLPattern]:
        view, prefix = self.admin_site.admin_view, "envelope_fields_rotationrun"
        # A worker must not hear of a run before everybody can read that it goes on.
        act = transaction.non_atomic_requests(keys_database())(view(self.act_view))
        return [
            path("<uuid:pk>/progress/", view(self.progress_view), name=f"{prefix}_progress"),
            path("<uuid:pk>/acts/<str:act>/", act, name=f"{prefix}_act"),
            *super().get_urls(),
        ]

    def progress_view(self, request: HttpRequest, pk: UUID) -> JsonResponse:
        """Return how far a run is."""
        return JsonResponse(self._told(request, self._seen(request, pk)))

    def act_view(self, request: HttpRequest, pk: UUID, act: str) -> HttpResponseBase:
        """Ask before an act on a run, or do it."""
        if act not in ACTS:
            raise Http404
        run = self._seen(request, pk)
        for key in keys_of(run):
            if not rights.may_change_run(request, key):
                raise rights.refuse(request, Action.RE_ENCRYPT, key)
        context = self._context(request, run)
        back = url_of_run(request, run)
        return answered(request, back, lambda: answer(request, run, act, back, context))

    def _seen(self, request: HttpRequest, pk: UUID) -> RotationRun:
        """Return a run that the user may see; what is tried with others is in the trail."""
        if not super().has_view_permission(request):
            raise PermissionDenied
        run = all_runs().filter(pk=pk).first()
        if run is None:
            raise Http404
        for key in keys_of(run):
            if Action.DESCRIBE not in rights.policy_allows(request, key):
                raise rights.refuse(request, Action.DESCRIBE, key)
        return run

    def _told(self, request: HttpRequest, run: RotationRun) -> dict[str, Any]:
        return {**told_in_full(run, progress(run)), "acts": possible_acts(run)}

    def _context(self, request: HttpRequest, run: RotationRun) -> dict[str, Any]:
        request.current_app = self.admin_site.name
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": run_text(run),
            "media": self.media,
        }
