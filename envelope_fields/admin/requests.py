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
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db import Error, connections, transaction
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils.translation import gettext as _

from envelope_fields import models
from envelope_fields.conf import keys_database
from envelope_fields.databases.errors import advice
from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied
from envelope_fields.jobs.runs import runs_about
from envelope_fields.lifecycle import AliasRefused, Operation, expecting
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


class OwnPages(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows with pages beside those of Django's admin."""

    actions = None
    list_per_page = 50
    show_full_result_count = False

    class Media:
        css: ClassVar = {"all": ["envelope_fields/admin.css"]}

    def own_path(self, route: str, view: Callable[..., Any], name: str) -> URLPattern:
        """Return the address of a page; `page_url` finds it by its name."""

        def on_this_site(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            request.current_app = self.admin_site.name
            return view(request, *args, **kwargs)

        return path(
            route,
            committed_by_itself(self.admin_site.admin_view(on_this_site)),
            name=f"envelope_fields_{self.opts.model_name}_{name}",
        )

    def own_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what the template of each page needs."""
        return {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}


def committed_by_itself(view: Callable[..., Any]) -> Callable[..., Any]:
    """Keep a view out of the transaction of its request (ATOMIC_REQUESTS).

    What it destroys must not come back with that, and a worker must not begin with a run before
    every connection can read that it goes on. Keys of a database of their own take no transaction
    around theirs.
    """
    alone: Callable[..., Any] = transaction.non_atomic_requests(keys_database())(view)
    return alone


class ReadOnlyAdmin(OwnPages):
    """Rows that are shown: no user adds, changes or deletes them, superusers neither."""

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


def may_view_runs(request: HttpRequest, *keys: models.MasterKey) -> bool:
    """Whether the user sees runs, and that on some keys."""
    seen = has_permission(request.user, "view_rotationrun")
    return seen and all(Action.DESCRIBE in policy_allows(request, key) for key in keys)


def require(request: HttpRequest, operation: Operation, *keys: models.MasterKey) -> None:
    """Return if the user may do an operation, as `may` says.

    Raises:
        PermissionDenied: they may not, which is recorded of the first key that is in the way.
    """
    if not may(request, operation, *keys):
        refused = (key for key in keys if not may(request, operation, key))
        raise refuse(request, operation.action, next(refused, None))


def refuse(
    request: HttpRequest, action: Action | str, key: models.MasterKey | None
) -> PermissionDenied:
    """Have an attempt logged and stored, and return the error that makes it a 403."""
    record_denial(action, key, request.user)
    return PermissionDenied()


def hide(request: HttpRequest, action: Action | str, key: models.MasterKey | None) -> Http404:
    """Record that a user was refused what they may not see; return "not found" for it."""
    record_denial(action, key, request.user)
    return Http404()


def errors_as_messages(
    request: HttpRequest, back: str, view: Callable[[], HttpResponseBase]
) -> HttpResponseBase:
    """Return the response of a view, or go back with a message that says why there is none.

    Raises:
        KeyAccessDenied: the policy refused it, which is a 403.
    """
    try:
        return view()
    except (AliasRefused, ChangedMeanwhile) as error:
        messages.error(request, str(error))
        return redirect(request.path)
    except KeyAccessDenied:
        raise
    except (EnvelopeError, ImproperlyConfigured) as error:
        messages.error(request, str(error))
        return redirect(back)
    except Error as error:
        why = advice(error, keys_database(), otherwise="")
        if not why or request.method != "POST" or connections[keys_database()].in_atomic_block:
            raise  # a page that is only shown would come back to itself
        messages.error(request, why)
        return redirect(back)


def page_url(request: HttpRequest, page: str, *args: Any) -> str:
    """Return the address of a page, such as `rotationrun_change`, on the site of a request.

    It is empty where the site, whose name is the `current_app` of the request, has no such page.
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
