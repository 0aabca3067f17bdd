"""A key's own page: what is said of it, and what may be changed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_protect

from envelope_fields import lifecycle
from envelope_fields.admin import rights
from envelope_fields.admin.answering import answered
from envelope_fields.admin.keys.listing import KeyList
from envelope_fields.admin.keys.pages import KeyPages, found_key
from envelope_fields.admin.page import content
from envelope_fields.admin.shown import NAME, as_shown, shown
from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.lifecycle import Act
from envelope_fields.lifecycle.acts import ACTIONS
from envelope_fields.lifecycle.alias_errors import alias_problem
from envelope_fields.models import KeyState, MasterKey
from envelope_fields.policy import CREATE_KEY, Action, principal_of


class KeyForm(forms.ModelForm):  # type: ignore[type-arg]  # as ModelAdmin
    """A key that is made or changed; `actor` is who does."""

    actor: Any

    def clean_alias(self) -> str:
        """Refuse an alias that another key has, without telling who may not know of that key."""
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
    """Master keys: what is protected by what, and the acts on it. None is ever deleted here."""

    form = KeyForm
    change_form_template = "admin/envelope_fields/masterkey/change_form.html"
    fields = ("alias", "description", "rotation_period", "application_use")
    _READ: ClassVar = ("id", "state", "managed_by", "creator", "in_service", "created_at")

    class Media:
        css: ClassVar = {"all": ["envelope_fields/admin.css"]}

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

    # The page

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
        key = None if object_id is None else found_key(unquote(object_id))
        if key is not None and request.method == "POST":
            self._described(request, key.pk)
        try:
            view: Any = super()._changeform_view  # type: ignore[misc]  # not in the stubs
            with nullcontext() if key is None else as_shown(request, key):
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
            # Sent again with what is wrong, it goes by what its reader saw first.
            seen = request.POST.get(NAME) or shown(obj)
            context = {**context, **content(request, obj, self._url), NAME: seen}
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
