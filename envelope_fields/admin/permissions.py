"""What the user of a request may do: Django's permission and the key's policy, both.

Pages ask here what to show. An operation asks the policy again, under its lock, so that what is
decided here is only what a user sees.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.keys import actions_on, has_permission, record_denial
from envelope_fields.models import MasterKey
from envelope_fields.policy import Action


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


def policy_allows(request: HttpRequest, key: MasterKey) -> set[Action]:
    """Return what the key's policy lets the user do; asked once a request."""
    known: dict[Any, set[Action]] = request.__dict__.setdefault("_envelope_fields_rights", {})
    if key.pk not in known:
        known[key.pk] = actions_on(key, request.user)
    return known[key.pk]


def may(request: HttpRequest, operation: Operation, key: MasterKey) -> bool:
    """Whether the user has the permission for an operation, and the right to it on this key."""
    permitted = has_permission(request.user, operation.codename)
    return permitted and operation.action in policy_allows(request, key)


def may_view(
    request: HttpRequest, model: str, key: MasterKey, action: Action = Action.DESCRIBE
) -> bool:
    """Whether the user sees rows of a model that belong to this key."""
    permitted = has_permission(request.user, f"view_{model}")
    return permitted and action in policy_allows(request, key)


def may_view_runs(request: HttpRequest, key: MasterKey) -> bool:
    """Whether the user sees the rotations of a key's values; who may change them does."""
    changes = has_permission(request.user, Operation.PAUSE_ROTATION.codename)
    seen = changes or has_permission(request.user, "view_rotationrun")
    return seen and Action.DESCRIBE in policy_allows(request, key)


def refuse(request: HttpRequest, action: Action | str, key: MasterKey | None) -> PermissionDenied:
    """Have an attempt logged and stored, and return the error that makes it a 403."""
    record_denial(action, key, request.user)
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
        return reverse(f"admin:envelope_fields_{page}", args=args, current_app=site)
    except NoReverseMatch:
        return ""
