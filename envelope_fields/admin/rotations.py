"""Rotations of stored values: the list of runs, and the page of each, where it is watched."""

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now, gettext_lazy as _

from envelope_fields.admin import requests, run_operations, runs
from envelope_fields.admin.confirmation import confirm
from envelope_fields.admin.counts import number_text
from envelope_fields.admin.limits import limits_text
from envelope_fields.audit.events import actor_text
from envelope_fields.conf import keys_database
from envelope_fields.jobs.representation import KEYS_SHOWN, key_contents, progress_of, run_title
from envelope_fields.jobs.runs import all_runs, keys_of, runs_about, runs_of
from envelope_fields.lifecycle.keys import open_keys
from envelope_fields.models import MasterKey, RotationRun
from envelope_fields.policy import Action
from envelope_fields.rotation import progress

KEYS_OFFERED = 30


class KeyOfRunFilter(admin.SimpleListFilter):
    """The runs of one key; the page of a key links here, by its id."""

    title = _("key")
    parameter_name = "key"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = model_admin.get_queryset(request).filter(master_key__isnull=False)
        keys = rows.order_by("master_key__alias", "master_key")
        found = keys.values_list("master_key", "master_key__alias").distinct()[:KEYS_OFFERED]
        return [(str(pk), alias or str(pk)) for pk, alias in found]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return rows
        try:
            return runs_about(UUID(value), rows)
        except ValueError:
            return rows.none()


class RunList(ChangeList):
    """A page of runs that knows how far they are, at the cost of two queries."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        for run, each in zip(rows, progress_of(rows), strict=True):
            run.progress = each
        self.result_list: Any = rows


class RotationRunAdmin(requests.ReadOnlyAdmin):
    """The rotations of keys that the user may see, newest first."""

    list_display = ("created_at", "key", "state", "done", "failed", "kind", "who")
    list_filter = ("state", "kind", KeyOfRunFilter, "created_at")
    search_fields = ("keys__master_key__alias", "actor_name")
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
    readonly_fields = (*fields, "key", "finished_at")

    class Media:
        css: ClassVar = {"all": ["envelope_fields/admin.css"]}

    # What is seen

    def get_queryset(self, request: HttpRequest) -> QuerySet[RotationRun]:
        seen = open_keys(Action.DESCRIBE, request.user)
        return runs_of(seen)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        several = obj is not None and obj.master_key_id is None
        shown = ("key", *self.fields[1:]) if several else self.fields
        return (*shown, "finished_at") if obj and obj.finished_at else shown

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunList

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        run = kwargs["obj"]
        request.current_app = self.admin_site.name
        shown, keys = self._representation(request, run), keys_of(run)
        operations = [
            {
                "name": name,
                "text": operation.button,
                "url": runs.url_of_run(request, run, "operation", name),
                "is_hidden": name not in shown["operations"],
            }
            for name, operation in run_operations.RUN_OPERATIONS.items()
            if requests.may(request, operation, *keys)
        ]
        more = {
            "subtitle": runs.run_text(run),
            "run": shown,
            "live_url": runs.url_of_run(request, run, "progress"),
            "operations": operations,
            "failures_shown": runs.FAILURES_SHOWN,
            "keys": [
                {**each, "url": requests.page_url(request, "masterkey_change", each["id"])}
                for each in key_contents(run)
            ],
            "keys_shown": KEYS_SHOWN,
        }
        return super().render_change_form(request, {**context, **more}, *args, **kwargs)

    @admin.display(description=_("key"), ordering="master_key__alias")
    def key(self, run: RotationRun) -> str:
        return run_title(run)

    @admin.display(description=_("progress"))
    def done(self, run: Any) -> SafeString:
        progress = run.progress
        return format_html(
            '<progress value="{}" max="{}" aria-label="{}"></progress> {}',
            str(
                progress.total - progress.remaining
            ),  # as text, since a number would be written as people do
            str(progress.total or 1),
            _now("moved"),
            runs.done_text(run, progress),
        )

    @admin.display(description=_("failed"))
    def failed(self, run: Any) -> str:
        return number_text(run.progress.failed)

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
        return limits_text(run)

    # What may be done

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not super().has_view_permission(request, obj):
            return False
        return obj is None or self._refused_key(request, obj) is None

    # Operations, and what the script on the page asks for

    def get_urls(self) -> list[URLPattern]:
        view, prefix = self.admin_site.admin_view, "envelope_fields_rotationrun"
        # A worker must not begin with a run before every connection can read that it goes on.
        operation = transaction.non_atomic_requests(keys_database())(view(self.operation_view))
        return [
            path("<uuid:pk>/progress/", view(self.progress_view), name=f"{prefix}_progress"),
            path("<uuid:pk>/operations/<str:name>/", operation, name=f"{prefix}_operation"),
            *super().get_urls(),
        ]

    def progress_view(self, request: HttpRequest, pk: UUID) -> JsonResponse:
        """Return how far a run is."""
        return JsonResponse(self._representation(request, self._seen(request, pk)))

    def operation_view(self, request: HttpRequest, pk: UUID, name: str) -> HttpResponseBase:
        """Ask before an operation on a run, or do it."""
        operation = run_operations.RUN_OPERATIONS.get(name)
        if operation is None:
            raise Http404
        run = self._seen(request, pk)
        keys = keys_of(run)
        if not requests.may(request, operation, *keys):
            refused = (key for key in keys if not requests.may(request, operation, key))
            raise requests.refuse(request, operation.action, next(refused, None))
        request.current_app = self.admin_site.name
        page = run_operations.run_page(operation)(
            operation, request, run, runs.url_of_run(request, run)
        )
        return confirm(
            page,
            lambda: {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "original": runs.run_text(run),
                "media": self.media,
            },
        )

    def _seen(self, request: HttpRequest, pk: UUID) -> RotationRun:
        """Return a run that the user may see; what is tried with others is in the trail."""
        if not super().has_view_permission(request):
            raise PermissionDenied
        run = all_runs().filter(pk=pk).first()
        if run is None:
            raise Http404
        refused = self._refused_key(request, run)
        if refused is not None:
            raise requests.refuse(request, Action.DESCRIBE, refused)
        return run

    @staticmethod
    def _refused_key(request: HttpRequest, run: RotationRun) -> MasterKey | None:
        """Return a key of a run that the user may not see, if there is one."""
        keys = keys_of(run)
        allowed = requests.policies_allow(request, keys)
        return next((key for key in keys if Action.DESCRIBE not in allowed[key.pk]), None)

    def _representation(self, request: HttpRequest, run: RotationRun) -> dict[str, Any]:
        return {
            **runs.full_representation(run, progress(run)),
            "operations": run_operations.possible_run_operations(run),
        }
