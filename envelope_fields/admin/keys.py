"""Master keys: the list, and the form of each on its page."""

from contextlib import nullcontext
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, gettext_lazy as _
from django.views.decorators.csrf import csrf_protect

from envelope_fields import lifecycle
from envelope_fields.admin import counts, requests
from envelope_fields.admin.key_pages import KeyPages, content, found_key
from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.lifecycle.aliases import alias_problem
from envelope_fields.lifecycle.keys import open_keys
from envelope_fields.lifecycle.rotation import due_keys, with_versions
from envelope_fields.models import KeyState, MasterKey
from envelope_fields.policy import CREATE_KEY, Action, principal_of


class DueFilter(admin.SimpleListFilter):
    """Keys whose rotation period is over."""

    title = _("rotation")
    parameter_name = "rotation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("due", _("due")), ("periodic", _("has a period")), ("demand", _("on demand"))]

    def queryset(self, request: HttpRequest, keys: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "due":
            return due_keys(keys)
        if self.value() in ("periodic", "demand"):
            return keys.filter(rotation_period__isnull=self.value() == "demand")
        return keys


class KeyList(requests.OwnPages):
    """The keys that one may see, with their versions, and with how many values are under them."""

    list_display = ("name", "state", "versions", "rotated", "next_due")
    list_filter = ("state", "managed_by", DueFilter)
    search_fields = ("alias", "description")
    ordering = ("alias", "pk")
    change_list_template = "admin/envelope_fields/masterkey/change_list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[MasterKey]:
        keys = open_keys(Action.DESCRIBE, request.user)
        return with_versions(keys).order_by(*self.ordering)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        count = counts.for_a_page()
        # For the columns of this request alone: the admin itself serves all requests.
        request._envelope_fields_usage = count.of_keys()  # type: ignore[attr-defined]  # a name of ours
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


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]  # as ModelAdmin
    """A key that `actor` makes or changes."""

    actor: Any

    def clean_alias(self) -> str:
        """Refuse an alias that another key has, without naming a key that the user may not see."""
        alias: str = self.cleaned_data["alias"]
        using = configuration().database
        problem = alias_problem(alias, principal_of(self.actor), using, CREATE_KEY)
        if problem is not None:
            raise forms.ValidationError(str(problem))
        return alias

    def validate_unique(self) -> None:
        """Leave that to `clean_alias`."""


@method_decorator(csrf_protect, name="changeform_view")
class MasterKeyAdmin(KeyPages, KeyList):
    """Master keys, what they protect, and the operations on them. None is ever deleted here."""

    form = KeyForm
    change_form_template = "admin/envelope_fields/masterkey/change_form.html"
    fields = ("alias", "description", "rotation_period", "application_use")
    _READ: ClassVar = (
        "id", "state", "managed_by", "creator", "in_service", "root_key", "created_at",
    )  # fmt: skip

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None:
            return super().has_change_permission(request, obj)
        is_over = obj.state in (KeyState.PENDING_DELETION, KeyState.DESTROYED)
        return not is_over and requests.may(request, lifecycle.Operation.UPDATE, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ()
        if Action.MANAGE_GRANTS in requests.policy_allows(request, obj):
            return ("alias", *self._READ)
        return ("alias", *self._READ, "application_use")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return self.fields
        over = [name for name in ("deletion_at", "destroyed_at") if getattr(obj, name)]
        return ("alias", "description", "rotation_period", "application_use", *self._READ, *over)

    @admin.display(description=_("made by"))
    def creator(self, key: MasterKey) -> str:
        return f"{key.creator_type} {key.creator_id}".strip()

    @admin.display(description=_("serves fields"))
    def in_service(self, key: MasterKey) -> str:
        if key.serves_fields:
            return gettext("yes")
        return gettext("no, until the application adopts it: adopt_master_key")

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.actor = request.user  # the class is made for this request alone
        return form

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        request.current_app = self.admin_site.name
        # A page that cannot be shown would lead to itself.
        listed = requests.page_url(request, "masterkey_changelist")
        # Without the transaction that Django puts around it: keys that have a database of their
        # own change in transactions of their own (law 3).
        return requests.errors_as_messages(
            request,
            request.path if request.method == "POST" else listed,
            lambda: self._changeform_view(request, object_id, form_url, extra_context),
        )

    def _changeform_view(
        self, request: HttpRequest, object_id: str | None, form_url: str, extra_context: Any
    ) -> Any:
        key = None if object_id is None else found_key(unquote(object_id))
        if key is not None and request.method == "POST":
            self._described(request, key.pk)
        try:
            view: Any = super()._changeform_view  # type: ignore[misc]  # not in the stubs
            with nullcontext() if key is None else requests.if_unchanged(request, key):
                return view(request, object_id, form_url, extra_context)
        except KeyAccessDenied:
            raise
        except PermissionDenied:
            action = CREATE_KEY if object_id is None else lifecycle.Operation.UPDATE.action
            raise requests.refuse(request, action, key) from None

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        obj = kwargs.get("obj")
        if obj is not None:
            request.current_app = self.admin_site.name
            # Sent again with what is wrong, it goes by what its reader saw first.
            seen = request.POST.get(requests.NAME) or requests.etag_of(obj)
            context = {**context, **content(request, obj), requests.NAME: seen}
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


def _values_column(usage: dict[Any, counts.Usage] | None) -> Any:
    @admin.display(description=_("values"))
    def values(key: MasterKey) -> str | None:
        if usage is None:
            return None
        return counts.number_text(usage.get(key.pk, counts.Usage()).values)

    return values


def _oldest_column(usage: dict[Any, counts.Usage] | None) -> Any:
    @admin.display(description=_("oldest in use"))
    def oldest(key: MasterKey) -> Any:
        return (usage or {}).get(key.pk, counts.Usage()).oldest

    return oldest
