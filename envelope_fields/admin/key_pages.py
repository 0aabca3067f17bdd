"""What a key has beside its form: operations, versions, values, rotations, grants and events."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern
from django.utils.translation import gettext as _

from envelope_fields.admin import counts, grants, requests, runs
from envelope_fields.admin.confirmation import ConfirmationPage, confirm
from envelope_fields.admin.operations import KEY_OPERATIONS, key_page
from envelope_fields.admin.starts import StartRotation, can_start
from envelope_fields.audit import uses as key_uses
from envelope_fields.audit.events import actor_text
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.indexing.representation import pinned_to
from envelope_fields.jobs.runs import runs_about
from envelope_fields.lifecycle import Operation, possible_operations
from envelope_fields.lifecycle.keys import find_master_key, numbered_version
from envelope_fields.lifecycle.representation import further_wraps_of, opening_text, version_content
from envelope_fields.models import AuditEvent, KeyGrant, MasterKey
from envelope_fields.policy import Action

EVENTS_SHOWN = 10
VERSIONS_SHOWN = 50


class KeyPages(requests.OwnPages):
    """The confirmation pages of a key; what is refused is in the audit trail."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not super().has_view_permission(request, obj):
            return False
        return obj is None or Action.DESCRIBE in requests.policy_allows(request, obj)

    def get_urls(self) -> list[URLPattern]:
        patterns = super().get_urls()
        for pattern in patterns:
            pattern.callback = requests.committed_by_itself(pattern.callback)
        of_version, of_grants = "<uuid:pk>/versions/<int:number>", "<uuid:pk>/grants"
        return [
            self.own_path("<uuid:pk>/operations/<str:name>/", self.operation_view, "operation"),
            self.own_path(f"{of_version}/<str:name>/", self.operation_view, "version_operation"),
            self.own_path("<uuid:pk>/rotations/add/", self.start_view, "start_rotation"),
            self.own_path(f"{of_grants}/add/", self.grant_view, "grant"),
            self.own_path(f"{of_grants}/<int:number>/revoke/", self.revoke_view, "revoke"),
            *patterns,
        ]

    def operation_view(
        self, request: HttpRequest, pk: Any, name: str, number: int | None = None
    ) -> HttpResponseBase:
        """Ask before an operation on a key or one of its versions, or do it."""
        operation = KEY_OPERATIONS.get(name)
        if operation is None or (number is not None and not operation.of_versions):
            raise Http404
        key = self._permitted(request, pk, operation)
        row: Any = key if number is None else numbered_version(key, number)
        return self._confirm(key_page(operation), request, key, row)

    def grant_view(self, request: HttpRequest, pk: Any) -> HttpResponseBase:
        """Grant rights on a key."""
        key = self._permitted(request, pk, Operation.CREATE_GRANT)
        return self._confirm(grants.Grant, request, key, key)

    def revoke_view(self, request: HttpRequest, pk: Any, number: int) -> HttpResponseBase:
        """Revoke a grant on a key."""
        key = self._permitted(request, pk, Operation.REVOKE_GRANT)
        return self._confirm(grants.Revoke, request, key, grants.found(key, number))

    def start_view(self, request: HttpRequest, pk: Any) -> HttpResponseBase:
        """Ask before the values under a key are moved, or have it done."""
        key = self._permitted(request, pk, Operation.START_ROTATION)
        return self._confirm(StartRotation, request, key, key)

    def _confirm(
        self, page: type[ConfirmationPage], request: HttpRequest, key: MasterKey, row: Any
    ) -> HttpResponseBase:
        """Ask before something is done to a key, or to what belongs to it, if there is such."""
        if row is None:
            raise Http404
        back = requests.page_url(request, "masterkey_change", key.pk)
        return confirm(page(request, row, back), self, key)

    def _permitted(self, request: HttpRequest, pk: Any, operation: Operation) -> MasterKey:
        """Return a key to which the user may do something."""
        key = self._described(request, pk)
        requests.require(request, operation, key)
        return key

    def _described(self, request: HttpRequest, pk: Any) -> MasterKey:
        """Return a key that the user may see; one that they may not is not there, to them.

        What is tried with it all the same is in the trail.
        """
        key = found_key(pk)
        if not self.has_view_permission(request):
            raise requests.refuse(request, Action.DESCRIBE, key)
        if key is None:
            raise Http404
        if Action.DESCRIBE not in requests.policy_allows(request, key):
            raise requests.refuse(request, Action.DESCRIBE, key)
        return key


def found_key(pk: Any) -> MasterKey | None:
    """Return the key that an address names, for every user; None where there is none."""
    try:
        return find_master_key(UUID(str(pk)))
    except (ValueError, MasterKeyNotFound):  # it may not be the text of an id
        return None


def content(request: HttpRequest, key: MasterKey) -> dict[str, Any]:
    """Return what the template of the page needs beside the form."""
    count = counts.for_a_page()
    rows = count.under(key)
    may_grant = requests.may(request, Operation.CREATE_GRANT, key)
    return {
        "operations": _buttons(request, key, key, "masterkey_operation", key.pk),
        "versions": _versions(request, key, count),
        "count": count,
        "total": counts.total_under(count, key),
        "chart": counts.chart(rows),
        "rows": [(counts.field_path(row), row.version, row.values) for row in rows],
        "last_use": key_uses.last_use(key),
        "last_use_by_kms": key_uses.last_use_by_kms(key),
        "indexes": _indexes(request, key, count),
        "grants": _grants(request, key),
        "grant_url": requests.page_url(request, "masterkey_grant", key.pk) if may_grant else None,
        **_rotations(request, key),
        **_events(request, key),
    }


def _buttons(
    request: HttpRequest, key: MasterKey, row: Any, name: str, *args: Any
) -> list[dict[str, str]]:
    """Return the operations that change something now and that the user may do."""
    possible = possible_operations(row, is_current=False)  # the current version gets no buttons
    return [
        {"url": requests.page_url(request, name, *args, end), "name": end, "text": str(each.button)}
        for end, each in KEY_OPERATIONS.items()
        if each in possible and requests.may(request, each, key)
    ]


def _versions(request: HttpRequest, key: MasterKey, count: counts.Count) -> list[dict[str, Any]]:
    rows = list(key.versions.using(key._state.db).order_by("-number")[:VERSIONS_SHOWN])
    current, further = key.current_version, further_wraps_of(rows)
    for row in rows:
        row.master_key = key
    at = "masterkey_version_operation", key.pk
    return [
        {
            **version_content(row, further, is_current=row == current),
            "state": row.get_state_display(),
            "unopened": opening_text(row),
            "values": counts.total_under(count, row),
            "operations": ([] if row == current else _buttons(request, key, row, *at, row.number)),
        }
        for row in rows
    ]


def _indexes(request: HttpRequest, key: MasterKey, count: counts.Count) -> list[dict[str, Any]]:
    """Return the blind indexes that are pinned to a search key, where the user may see them."""
    if not requests.may_view(request, "blindindex", key):
        return []
    return [
        {
            "label": row.label,
            "state": row.get_state_display(),
            "number": number,
            "rows": None if count.at is None else _rows_in(count, key, row.label),
            "url": requests.page_url(request, "blindindex_change", row.pk),
        }
        for row, number in pinned_to(key)
    ]


def _rows_in(count: counts.Count, key: MasterKey, label: str) -> int:
    rows = (each for each in count.under(key) if f"{each.model}.{each.field}".lower() == label)
    return counts.total(rows)


def _rotations(request: HttpRequest, key: MasterKey) -> dict[str, Any]:
    """Return the latest runs of a key, the one that is not over, and where another is started."""
    may_see = requests.may_view_runs(request, key)
    may_start = requests.may(request, Operation.START_ROTATION, key) and can_start(key)
    latest = runs.latest_context(request, runs_about(key) if may_see else None)
    start_url = requests.page_url(request, "masterkey_start_rotation", key.pk)
    return {
        **latest,
        "start_url": start_url if may_start else "",
        "start_text": Operation.START_ROTATION.button,
        "rotations_url": _list_url(request, "rotationrun", key.pk) if latest["rotations"] else "",
        "runs_title": _("Rotation of stored values"),
        "no_rotations": latest["no_rotations"] and _("Nothing has been moved yet."),
    }


def _events(request: HttpRequest, key: MasterKey) -> dict[str, Any]:
    if not requests.may_view(request, "auditevent", key, Action.VIEW_AUDIT):
        return {"events": None}
    events = AuditEvent.objects.using(key._state.db).filter(key_id=key.pk).order_by("-number")
    shown = [{"event": event, "actor": actor_text(event)} for event in events[:EVENTS_SHOWN]]
    return {"events": shown, "events_url": _list_url(request, "auditevent", key)}


def _list_url(request: HttpRequest, model: str, key: Any) -> str:
    """Return where the site of this page lists all of a key; empty if it does not."""
    listed = requests.page_url(request, f"{model}_changelist")
    return listed and f"{listed}?{urlencode({'key': str(key)})}"


def _grants(request: HttpRequest, key: MasterKey) -> list[dict[str, Any]] | None:
    """Return the grants on a key; None where the user may not see them."""
    if not requests.may_view(request, "keygrant", key):
        return None
    may_revoke = requests.may(request, Operation.REVOKE_GRANT, key)
    return [
        {**each, "revoke_url": _revoke_url(request, key, each["grant"]) if may_revoke else ""}
        for each in grants.listed_on(key)
    ]


def _revoke_url(request: HttpRequest, key: MasterKey, grant: KeyGrant) -> str:
    return requests.page_url(request, "masterkey_revoke", key.pk, grant.pk)
