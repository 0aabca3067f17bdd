"""The list of keys, and the page of each."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_protect

from envelope_fields import lifecycle
from envelope_fields.admin import counts, due, grants, rights
from envelope_fields.admin.acts import PAGES
from envelope_fields.admin.acts.view import answer
from envelope_fields.admin.answering import answered
from envelope_fields.admin.page import content
from envelope_fields.admin.rotations import starting
from envelope_fields.admin.rotations.addresses import url_of_run
from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.lifecycle import Act
from envelope_fields.lifecycle.acts import ACTIONS
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion, RotationRun
from envelope_fields.policy import CREATE_KEY, Action


class DueFilter(admin.SimpleListFilter):
    """Keys whose rotation period is over."""

    title = _("rotation")
    parameter_name = "rotation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("due", _("due")), ("periodic", _("has a period")), ("demand", _("on demand"))]

    def queryset(self, request: HttpRequest, keys: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "due":
            return due.due(keys)
        if self.value() in ("periodic", "demand"):
            return keys.filter(rotation_period__isnull=self.value() == "demand")
        return keys


@method_decorator(csrf_protect, name="changeform_view")
class MasterKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Master keys: what is protected by what, and the acts on it. None is ever deleted here."""

    list_display = ("name", "state", "versions", "rotated", "next_due")
    list_filter = ("state", "managed_by", DueFilter)
    search_fields = ("alias", "description")
    ordering = ("alias", "pk")
    list_per_page = 50
    show_full_result_count = False
    actions = None
    change_form_template = "admin/envelope_fields/masterkey/change_form.html"
    change_list_template = "admin/envelope_fields/masterkey/change_list.html"
    fields = ("alias", "description", "rotation_period", "application_use")
    _READ: ClassVar = ("id", "state", "managed_by", "created_at")

    class Media:
        css: ClassVar = {"all": ["envelope_fields/admin.css"]}

    # What is seen

    def get_queryset(self, request: HttpRequest) -> QuerySet[MasterKey]:
        keys = rights.open_keys(request, Action.DESCRIBE)
        return due.with_versions(keys).order_by(*self.ordering)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        count = counts.for_a_page()
        # For the columns of this request alone: the admin itself serves all requests.
        request._envelope_fields_usage = count.of_keys()  # type: ignore[attr-defined]
        return super().changelist_view(request, {**(extra_context or {}), "count": count})

    def get_list_display(self, request: HttpRequest) -> Any:
        usage = getattr(request, "_envelope_fields_usage", {})
        counted = (_values_column(usage), _oldest_column(usage))
        return (*self.list_display[:3], *counted, *self.list_display[3:])

    @admin.display(description=_("key"), ordering="alias")
    def name(self, key: MasterKey) -> str:
        return str(key)

    @admin.display(description=_("versions"), ordering="version_count")
    def versions(self, key: Any) -> Any:
        return key.version_count

    @admin.display(description=_("last rotated"), ordering="rotated_at")
    def rotated(self, key: Any) -> Any:
        return key.rotated_at

    @admin.display(description=_("next due"), ordering="due_at")
    def next_due(self, key: Any) -> Any:
        return key.due_at if key.state in (KeyState.ENABLED, KeyState.DISABLED) else None

    # What may be done

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not super().has_view_permission(request, obj):
            return False
        return obj is None or Action.DESCRIBE in rights.policy_allows(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None:
            return super().has_change_permission(request, obj)
        is_over = obj.state in (KeyState.PENDING_DELETION, KeyState.DESTROYED)
        return not is_over and rights.may_act(request, Act.UPDATE, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ()
        if Action.MANAGE_GRANTS in rights.policy_allows(request, obj):
            return ("alias", *self._READ)
        return ("alias", *self._READ, "application_use")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fields
        over = [name for name in ("deletion_at", "destroyed_at") if getattr(obj, name)]
        return ("alias", "description", "rotation_period", "application_use", *self._READ, *over)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        # Without the transaction that Django puts around it: keys that have a database of their
        # own change in transactions of their own (law 3).
        return answered(
            request,
            request.path,
            lambda: self._changeform_view(request, object_id, form_url, extra_context),
        )

    def _changeform_view(
        self, request: HttpRequest, object_id: str | None, form_url: str, extra_context: Any
    ) -> Any:
        key = None if object_id is None else _row(unquote(object_id))
        if key is not None and request.method == "POST":
            self._described(request, key.pk)
        try:
            view: Any = super()._changeform_view  # type: ignore[misc]
            return view(request, object_id, form_url, extra_context)
        except KeyAccessDenied:
            raise
        except PermissionDenied:
            action = CREATE_KEY if object_id is None else ACTIONS[Act.UPDATE]
            raise self._refused(request, action, key) from None

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        obj = kwargs.get("obj")
        if obj is not None:
            request.current_app = self.admin_site.name
            context = {**context, **content(request, obj, self._url)}
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: MasterKey, form: Any, change: bool) -> None:
        changed = {name: form.cleaned_data[name] for name in form.changed_data}
        if change:
            lifecycle.update_master_key(obj.pk, **changed, actor=request.user)
            return
        made = lifecycle.create_master_key(**changed, actor=request.user)
        for field in obj._meta.concrete_fields:  # the page goes on with the row that was made
            setattr(obj, field.attname, getattr(made, field.attname))
        obj._state.adding, obj._state.db = False, made._state.db

    # The pages of acts and grants

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        prefix = "envelope_fields_masterkey"
        act = view(self.act_view)
        patterns = [
            path("<uuid:pk>/acts/<str:act>/", act, name=f"{prefix}_act"),
            path("<uuid:pk>/versions/<int:number>/<str:act>/", act, name=f"{prefix}_version_act"),
            path(
                "<uuid:pk>/rotations/add/",
                view(self.start_view),
                name=f"{prefix}_start_rotation",
            ),
            path("<uuid:pk>/grants/add/", view(self.grant_view), name=f"{prefix}_grant"),
            path(
                "<uuid:pk>/grants/<int:number>/revoke/",
                view(self.revoke_view),
                name=f"{prefix}_revoke",
            ),
            *super().get_urls(),
        ]
        # What is done is committed by itself: what is destroyed must not come back with a request's
        # transaction (ATOMIC_REQUESTS), and keys of a database of their own take none around them.
        alone = transaction.non_atomic_requests(configuration().database)
        for pattern in patterns:
            pattern.callback = alone(pattern.callback)
        return patterns

    def act_view(
        self, request: HttpRequest, pk: Any, act: str, number: int | None = None
    ) -> HttpResponseBase:
        """Ask before an act on a key or one of its versions, or do it."""
        key = self._described(request, pk)
        if act not in PAGES or (number is not None and Act(act) not in lifecycle.OF_VERSIONS):
            raise Http404
        if not rights.may_act(request, Act(act), key):
            raise self._refused(request, ACTIONS[Act(act)], key)
        row: Any = key if number is None else _version(key, number)
        return answer(request, row, act, self._url("change", key), self._context(request, key))

    def grant_view(self, request: HttpRequest, pk: Any) -> HttpResponseBase:
        """Hand out rights on a key."""
        key = self._managed(request, pk, "add_keygrant")
        back, context = self._url("change", key), self._context(request, key)
        return answered(request, back, lambda: grants.answer_grant(request, key, back, context))

    def revoke_view(self, request: HttpRequest, pk: Any, number: int) -> HttpResponseBase:
        """Take a grant on a key away."""
        key = self._managed(request, pk, "delete_keygrant")
        row = grants.found(key, number)
        if row is None:
            raise Http404
        back, context = self._url("change", key), self._context(request, key)
        return answered(request, back, lambda: grants.answer_revoke(request, row, back, context))

    def start_view(self, request: HttpRequest, pk: Any) -> HttpResponseBase:
        """Ask before the values under a key are moved, or have it done."""
        key = self._described(request, pk)
        if not rights.may_start_run(request, key):
            raise self._refused(request, Action.RE_ENCRYPT, key)
        back = self._url("change", key)
        context = {**self._context(request, key), "back": back}

        def url(run: RotationRun) -> str:
            seen = rights.may_see_runs(request, key)
            return (seen and url_of_run(request, run)) or back

        return answered(request, back, lambda: starting.answer(request, key, url, context))

    def _managed(self, request: HttpRequest, pk: Any, codename: str) -> MasterKey:
        key = self._described(request, pk)
        if not rights.may(request, Action.MANAGE_GRANTS, key, codename):
            raise self._refused(request, Action.MANAGE_GRANTS, key)
        return key

    def _described(self, request: HttpRequest, pk: Any) -> MasterKey:
        """Return a key that the user may see; one that they may not is not there, to them.

        What is tried with it all the same is in the trail.
        """
        key = _row(pk)
        if not super().has_view_permission(request):
            raise self._refused(request, Action.DESCRIBE, key)
        if key is None:
            raise Http404
        if Action.DESCRIBE not in rights.policy_allows(request, key):
            raise self._refused(request, Action.DESCRIBE, key)
        return key

    def _refused(
        self, request: HttpRequest, action: Action | str, key: MasterKey | None
    ) -> Exception:
        return rights.refuse(request, action, key)

    def _context(self, request: HttpRequest, key: MasterKey) -> dict[str, Any]:
        request.current_app = self.admin_site.name
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": key,
            "media": self.media,
        }

    def _url(self, name: str, key: MasterKey, *args: Any) -> str:
        return reverse(
            f"{self.admin_site.name}:envelope_fields_masterkey_{name}", args=[key.pk, *args]
        )


def _row(pk: Any) -> MasterKey | None:
    try:
        return MasterKey.objects.using(configuration().database).filter(pk=pk).first()
    except ValidationError:  # not the text of an id
        return None


def _version(key: MasterKey, number: int) -> MasterKeyVersion:
    versions = key.versions.using(configuration().database).select_related("master_key")
    version = versions.filter(number=number).first()
    if version is None:
        raise Http404
    return version


def _values_column(usage: dict[Any, counts.Usage] | None) -> Any:
    @admin.display(description=_("values"))
    def values(key: MasterKey) -> str | None:
        if usage is None:
            return None
        return number_format(usage.get(key.pk, counts.Usage()).values, force_grouping=True)

    return values


def _oldest_column(usage: dict[Any, counts.Usage] | None) -> Any:
    @admin.display(description=_("oldest in use"))
    def oldest(key: MasterKey) -> Any:
        return (usage or {}).get(key.pk, counts.Usage()).oldest

    return oldest
