"""What a request may do: its user's permissions, the policies of keys, and what its page showed.

Pages ask here what to show. An operation asks the policy again, under its lock, so that what is
decided here is only what a user sees.

A page carries in its form what it showed, and an operation is refused where that has changed since.
So of two officers who look at the same page the second one is refused, and so is a page that is
sent twice. It is to the admin what `If-Match` is to the API; a request without it is not held to
it.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from envelope_fields import models
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.runs import runs_about
from envelope_fields.lifecycle import Operation, expecting
from envelope_fields.lifecycle.keys import actions_on, has_permission, record_denial
from envelope_fields.policy import Action

NAME = "shown"  # of the hidden input
_COLUMNS: dict[type, tuple[str, ...]] = {
    models.MasterKey: (
        "alias", "description", "state", "deletion_at", "managed_by", "application_use",
        "rotation_period", "serves_fields",
    ),
    models.MasterKeyVersion: ("number", "state", "deletion_at"),
    models.RotationRun: ("id", "state", "resumed_at", "finished_at"),
    models.BlindIndex: ("label", "state", "state_changed_at"),
}  # fmt: skip

Row = models.MasterKey | models.MasterKeyVersion | models.RotationRun | models.BlindIndex


class ChangedMeanwhile(EnvelopeError):
    """What a page showed is not so any more."""


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


def policy_allows(request: HttpRequest, key: models.MasterKey) -> set[Action]:
    """Return what the key's policy lets the user do; asked once a request."""
    return policies_allow(request, [key])[key.pk]


def policies_allow(
    request: HttpRequest, keys: Iterable[models.MasterKey]
) -> dict[Any, set[Action]]:
    """Return the same of several keys, by their ids; asked in as many queries as for one."""
    known: dict[Any, set[Action]] = request.__dict__.setdefault("_envelope_fields_rights", {})
    unknown = [key for key in keys if key.pk not in known]
    if unknown:
        known.update(actions_on(unknown, actor=request.user))
    return known


def may(request: HttpRequest, operation: Operation, *keys: models.MasterKey) -> bool:
    """Whether the user has the permission for an operation, and the right to it on each key."""
    if not has_permission(request.user, operation.codename):
        return False
    allowed = policies_allow(request, keys)
    return all(operation.action in allowed[key.pk] for key in keys)


def may_view(
    request: HttpRequest, model: str, key: models.MasterKey, action: Action = Action.DESCRIBE
) -> bool:
    """Whether the user sees rows of a model that belong to this key."""
    permitted = has_permission(request.user, f"view_{model}")
    return permitted and action in policy_allows(request, key)


def may_view_runs(request: HttpRequest, key: models.MasterKey) -> bool:
    """Whether the user sees the rotations of a key's values; who may change them does."""
    changes = has_permission(request.user, Operation.PAUSE_ROTATION.codename)
    seen = changes or has_permission(request.user, "view_rotationrun")
    return seen and Action.DESCRIBE in policy_allows(request, key)


def refuse(
    request: HttpRequest, action: Action | str, key: models.MasterKey | None
) -> PermissionDenied:
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


def etag_of(row: Row) -> str:
    """Return what stands for the present state of a key, a version, a rotation or an index."""
    rows: Any = type(row)._base_manager.using(row._state.db)
    now = rows.get(pk=row.pk)
    return _digest([now, now.current_version] if isinstance(now, models.MasterKey) else [now])


def etag_of_rotations(key: models.MasterKey) -> str:
    """Return what stands for a key and the last rotation of its values."""
    last = runs_about(key).first()
    return _digest([etag_of(key), last])


@contextmanager
def if_unchanged(
    request: HttpRequest, row: Any, etag: Callable[[], str] | None = None
) -> Iterator[None]:
    """Have an operation inside done only if nothing has changed since the page was made.

    Args:
        request: sends the form of the page.
        row: a key, a run, or a row with a `master_key_id`.
        etag: returns what stands for the present state of what the page showed; by default the row.

    Raises:
        ChangedMeanwhile: from the operation, under its lock, which then does nothing.
    """
    given = request.POST.get(NAME)
    if not given:
        yield
        return
    unchecked = {_locked_id(row)}

    def check(locked: Model) -> None:
        if locked.pk in unchecked:  # once: the operation itself changes it
            unchecked.clear()
            if (etag_of(row) if etag is None else etag()) != given:
                raise ChangedMeanwhile(
                    _("It has changed since this page was shown, so nothing was done. Look again.")
                )

    with expecting(check):
        yield


def _locked_id(row: Any) -> Any:
    """Return the id of the key or the run whose row the operation locks."""
    if isinstance(row, models.BlindIndex):
        pins = models.BlindIndexKey.objects.using(row._state.db).filter(name=row.name)
        return pins.values_list("master_key_id", flat=True).first()
    return row.pk if isinstance(row, models.MasterKey | models.RotationRun) else row.master_key_id


def _digest(rows: list[Any]) -> str:
    text = json.dumps([_state_of(row) for row in rows], default=str)
    return sha256(text.encode()).hexdigest()[:32]


def _state_of(row: Any) -> Any:
    names = _COLUMNS.get(type(row))
    return row if names is None else [getattr(row, name) for name in names]
