"""Rotations of stored values: the list of runs, and the page of each, where it is watched.

And what can be done with a run, as it is confirmed: it is paused, resumed or cancelled.
"""

from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase, JsonResponse
from django.urls import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now, gettext_lazy as _

from envelope_fields import rotation
from envelope_fields.admin import requests, runs
from envelope_fields.admin.confirmation import ConfirmationPage, buttons, confirm
from envelope_fields.admin.counts import number_text, values_text
from envelope_fields.admin.starts import worker_problem
from envelope_fields.audit.events import actor_text
from envelope_fields.jobs.dispatch import dispatch_resume
from envelope_fields.jobs.representation import KEYS_SHOWN, key_contents, progress_of, run_title
from envelope_fields.jobs.runs import all_runs, keys_of, runs_about, runs_of
from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.keys import open_keys
from envelope_fields.models import MasterKey, RotationKind, RotationRun, RotationState
from envelope_fields.policy import Action

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
        "master_key", "kind", "versions", "fields_moved", "limited", "who", "created_at", "id",
    )  # fmt: skip
    readonly_fields = (*fields, "key", "finished_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[RotationRun]:
        return runs_of(open_keys(Action.DESCRIBE, request.user))

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
        more = {
            "subtitle": runs.run_text(run),
            "run": _representation(request, run),
            "live_url": runs.url_of_run(request, run, "progress"),
            "operations": buttons(
                _pages(request, run), keys_of(run), "rotationrun_operation", run.pk
            ),
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
            str(progress.total - progress.remaining),  # as text: a number would be as people write
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
        return runs.limits_text(run)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not super().has_view_permission(request, obj):
            return False
        return obj is None or self._refused_key(request, obj) is None

    def get_urls(self) -> list[URLPattern]:
        return [
            self.own_path("<uuid:pk>/progress/", self.progress_view, "progress"),
            self.own_path("<uuid:pk>/operations/<str:name>/", self.operation_view, "operation"),
            *super().get_urls(),
        ]

    def progress_view(self, request: HttpRequest, pk: UUID) -> JsonResponse:
        """Return how far a run is."""
        return JsonResponse(_representation(request, self._seen(request, pk)))

    def operation_view(self, request: HttpRequest, pk: UUID, name: str) -> HttpResponseBase:
        """Ask before an operation on a run, or do it."""
        if name not in RUN_OPERATIONS:
            raise Http404
        run = self._seen(request, pk)
        page = RUN_OPERATIONS[name](request, run, runs.url_of_run(request, run))
        requests.require(request, page.operation, *keys_of(run))
        return confirm(page, self, runs.run_text(run))

    def _seen(self, request: HttpRequest, pk: UUID) -> RotationRun:
        """Return a run that the user may see; what is tried with others is in the trail."""
        if not super().has_view_permission(request):
            raise requests.refuse(request, Action.DESCRIBE, None)
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


def _representation(request: HttpRequest, run: RotationRun) -> dict[str, Any]:
    pages = _pages(request, run)
    return {
        **runs.full_representation(run, rotation.progress(run)),
        "operations": [name for name, page in pages.items() if page.is_possible],
    }


def _pages(request: HttpRequest, run: RotationRun) -> dict[str, ConfirmationPage]:
    return {name: page(request, run, "") for name, page in RUN_OPERATIONS.items()}


# -- What can be done with a run -------------------------------------------------------------------


class RunConfirmation(ConfirmationPage):
    """An operation on a run."""

    @property
    def title(self) -> str:
        return f"{self.button}: {runs.run_text(self.row)}"

    @cached_property
    def progress(self) -> rotation.Progress:
        return rotation.progress(self.row)

    @property
    def is_possible(self) -> bool:
        return bool(self.row.is_active)

    @property
    def standing(self) -> str:
        text = _now("The run is %(state)s: there is nothing to do here.")
        return text % {"state": self.row.get_state_display()}

    def so_far(self) -> str:
        return _now("So far: %(done)s.") % {"done": runs.done_text(self.row, self.progress)}


class Pause(RunConfirmation):
    operation = Operation.PAUSE_ROTATION

    @property
    def is_possible(self) -> bool:
        return self.row.state in (RotationState.PENDING, RotationState.RUNNING)

    def consequences(self) -> list[str]:
        return [
            _now("It rests as soon as the batch that is under way is done, until it is resumed."),
            self.so_far(),
            _now("All values can be read and written meanwhile."),
        ]

    def perform(self) -> str:
        rotation.pause(self.row, actor=self.actor)
        return _now("The run is paused.")


class Resume(RunConfirmation):
    operation = Operation.RESUME_ROTATION

    @property
    def is_possible(self) -> bool:
        return self.row.state == RotationState.PAUSED or runs.is_quiet(self.row)

    @cached_property
    def problem(self) -> str:
        return worker_problem(f"rewrap --run {self.row.pk}")

    def consequences(self) -> list[str]:
        return [_now("It is handed to a worker, which goes on where it was."), self.so_far()]

    def perform(self) -> str:
        dispatch_resume(self.row, actor=self.actor)
        return _now("The run goes on.")


class Cancel(RunConfirmation):
    operation = Operation.CANCEL_ROTATION
    is_grave = True

    def consequences(self) -> list[str]:
        ends = _now("It ends where it is. To go on, another run has to be started.")
        moved = self.progress.moved
        if self.row.kind == RotationKind.VERIFY_INDEX:
            return [ends, _now("It has written nothing.")]
        if self.row.kind == RotationKind.REBUILD_INDEX:
            text = _now("Rows that were written stay so: %(rows)s.")
            return [ends, text % {"rows": number_text(moved)}]
        return [
            ends,
            _now("What was moved stays so: %(values)s.") % {"values": values_text(moved)},
            _now("What was not moved can be read as before, and stays under its version."),
        ]

    def perform(self) -> str:
        rotation.cancel(self.row, actor=self.actor)
        return _now("The run is cancelled.")


# By the names in addresses, in the order of the buttons.
RUN_OPERATIONS = {page.operation.segment: page for page in (Pause, Resume, Cancel)}
