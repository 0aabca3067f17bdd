"""What the user of a request may do: Django's permission and the key's policy, both.

Pages ask here what to show. An operation asks the policy again, under its lock, so that what is
decided here is only what a user sees.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from envelope_fields.conf import configuration
from envelope_fields.lifecycle import Act
from envelope_fields.lifecycle.acts import ACTIONS
from envelope_fields.models import MasterKey
from envelope_fields.policy import Action, Denial, allowed_actions, keys_open_to, principal_of, tell

_APP = "envelope_fields"
CODENAMES = {
    Act.ROTATE: "rotate_masterkey",
    Act.ENABLE: "enable_masterkey",
    Act.DISABLE: "disable_masterkey",
    Act.SCHEDULE_DELETION: "schedule_deletion_masterkey",
    Act.CANCEL_DELETION: "cancel_deletion_masterkey",
    Act.SHRED: "shred_masterkey",
    Act.MOVE_ALIAS: "move_alias_masterkey",
    Act.UPDATE: "change_masterkey",
}
ADD_RUNS, CHANGE_RUNS, VIEW_RUNS = (
    "add_rotationrun",
    "change_rotationrun",
    "view_rotationrun",
)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that are shown: no user adds, changes or deletes them, superusers neither."""

    actions = None
    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def open_keys(request: HttpRequest, action: Action) -> QuerySet[MasterKey]:
    """Return the keys with which the user may do something by their policies."""
    using = configuration().database
    keys = MasterKey.objects.using(using)
    return keys.filter(keys_open_to(action, request.user, using=using))


def policy_allows(request: HttpRequest, key: MasterKey) -> set[Action]:
    """Return what the key's policy lets the user do; asked once a request."""
    known: dict[Any, set[Action]] = request.__dict__.setdefault("_envelope_fields_rights", {})
    if key.pk not in known:
        using = configuration().database
        known[key.pk] = allowed_actions(Action, key, request.user, using=using)
    return known[key.pk]


def may_act(request: HttpRequest, act: Act, key: MasterKey) -> bool:
    """Whether the user has the permission for an operation, and the right to it on this key."""
    return may(request, ACTIONS[act], key, CODENAMES[act])


def may(request: HttpRequest, action: Action, key: MasterKey, codename: str) -> bool:
    """Whether the user has a permission, and the right to an action on this key."""
    return _has(request, codename) and action in policy_allows(request, key)


def may_see_grants(request: HttpRequest, key: MasterKey) -> bool:
    """Whether the user sees who may do what with a key."""
    return may(request, Action.DESCRIBE, key, "view_keygrant")


def may_see_runs(request: HttpRequest, key: MasterKey) -> bool:
    """Whether the user sees the rotations of a key's values."""
    seen = _has(request, VIEW_RUNS) or _has(request, CHANGE_RUNS)  # as in Django's admin
    return seen and Action.DESCRIBE in policy_allows(request, key)


def may_start_run(request: HttpRequest, key: MasterKey) -> bool:
    """Whether the user may have the values under a key moved."""
    return may(request, Action.RE_ENCRYPT, key, ADD_RUNS)


def may_change_run(request: HttpRequest, key: MasterKey) -> bool:
    """Whether the user may pause, resume and cancel the rotations of a key's values."""
    return may(request, Action.RE_ENCRYPT, key, CHANGE_RUNS)


def refuse(request: HttpRequest, action: Action | str, key: MasterKey | None) -> PermissionDenied:
    """Have an attempt logged and stored, and return the error that makes it a 403."""
    pk, alias = (None, None) if key is None else (key.pk, key.alias)
    tell(Denial(principal_of(request.user), action, pk, alias))
    return PermissionDenied()


def page_url(request: HttpRequest, page: str, *args: Any) -> str:
    """Return the address of a page of this app on the site of a request.

    Args:
        request: its `current_app` is the name of the site.
        page: model and page, such as `rotationrun_change`.
        *args: what the address is made with.

    Returns:
        The address; empty where the site does not have the model.
    """
    site: Any = getattr(request, "current_app", None)
    try:
        return reverse(f"admin:{_APP}_{page}", args=args, current_app=site)
    except NoReverseMatch:
        return ""


def _has(request: HttpRequest, codename: str) -> bool:
    return bool(request.user.has_perm(f"{_APP}.{codename}"))
