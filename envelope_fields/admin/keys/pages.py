"""The pages beside a key's own: acts on it, grants, and rotations that start there."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern, path, reverse

from envelope_fields import lifecycle
from envelope_fields.admin import grants, rights
from envelope_fields.admin.acts import PAGES
from envelope_fields.admin.acts.view import answer
from envelope_fields.admin.answering import answered
from envelope_fields.admin.rotations import starting
from envelope_fields.admin.rotations.addresses import url_of_run
from envelope_fields.conf import configuration, keys_database
from envelope_fields.lifecycle import Act
from envelope_fields.lifecycle.acts import ACTIONS
from envelope_fields.models import MasterKey, MasterKeyVersion, RotationRun
from envelope_fields.policy import Action


class KeyPages(admin.ModelAdmin):  # type: ignore[type-arg]
    """Asks before it does anything; what is refused is in the trail."""

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
        alone = transaction.non_atomic_requests(keys_database())
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
        key = found_key(pk)
        if not self.has_view_permission(request):
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


def found_key(pk: Any) -> MasterKey | None:
    """Return the key that an address names, whoever asks; None where there is none."""
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
