"""What the page of a key shows below its form: versions, values, grants and events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest

from envelope_fields.admin import counts, grants, rights
from envelope_fields.admin.acts import PAGES
from envelope_fields.admin.addresses import address
from envelope_fields.admin.chart import chart, place_of
from envelope_fields.admin.rotations.section import section
from envelope_fields.audit import uses
from envelope_fields.lifecycle import Act, possible_acts
from envelope_fields.models import AuditEvent, MasterKey, MasterKeyVersion
from envelope_fields.policy import Action

EVENTS_SHOWN = 10
VERSIONS_SHOWN = 50

Url = Callable[..., str]


def content(request: HttpRequest, key: MasterKey, url: Url) -> dict[str, Any]:
    """Return what the template of the page needs beside the form."""
    count = counts.for_a_page()
    rows = count.under(key)
    return {
        "acts": _buttons(request, key, key, lambda act: url("act", key, act)),
        "versions": _versions(request, key, count, url),
        "count": count,
        "total": counts.total_under(count, key),
        "chart": chart(rows),
        "rows": [(place_of(row), row.version, row.values) for row in rows],
        "last_use": uses.last_use(key),
        "last_use_by_kms": uses.last_use_by_kms(key),
        "grants": _grants(request, key, url),
        "grant_url": _if_may(request, key, "add_keygrant", lambda: url("grant", key)),
        **section(request, key, url("start_rotation", key)),
        **_events(request, key),
    }


def _buttons(
    request: HttpRequest, key: MasterKey, row: Any, url: Callable[[str], str]
) -> list[dict[str, str]]:
    """Return the acts that change something now and that the user may do."""
    possible = possible_acts(row, is_current=False)  # the current version gets no buttons
    return [
        {"url": url(name), "name": name, "text": str(page.button)}
        for name, page in PAGES.items()
        if Act(name) in possible and rights.may_act(request, Act(name), key)
    ]


def _versions(
    request: HttpRequest, key: MasterKey, count: counts.Count, url: Url
) -> list[dict[str, Any]]:
    rows = list(key.versions.using(key._state.db).order_by("-number")[:VERSIONS_SHOWN])
    for row in rows:
        row.master_key = key
    return [
        {
            "version": row,
            "version_id": bytes(row.version_id).hex(),
            "is_current": row is rows[0],
            "values": counts.total_under(count, row),
            "acts": [] if row is rows[0] else _of_version(request, key, row, url),
        }
        for row in rows
    ]


def _of_version(
    request: HttpRequest, key: MasterKey, row: MasterKeyVersion, url: Url
) -> list[dict[str, str]]:
    return _buttons(request, key, row, lambda act: url("version_act", key, row.number, act))


def _events(request: HttpRequest, key: MasterKey) -> dict[str, Any]:
    if not rights.may(request, Action.VIEW_AUDIT, key, "view_auditevent"):
        return {"events": None}
    events = AuditEvent.objects.using(key._state.db).filter(key_id=key.pk).order_by("-number")
    return {"events": list(events[:EVENTS_SHOWN]), "events_url": _events_url(request, key)}


def _events_url(request: HttpRequest, key: MasterKey) -> str:
    """Return where the site of this page lists all events of a key; empty if it does not."""
    listed = address(request, "auditevent_changelist")
    return listed and f"{listed}?{urlencode({'key': str(key)})}"


def _grants(request: HttpRequest, key: MasterKey, url: Url) -> list[dict[str, Any]] | None:
    """Return the grants on a key; None where the user may not see who has some."""
    if not rights.may_see_grants(request, key):
        return None
    may_revoke = rights.may(request, Action.MANAGE_GRANTS, key, "delete_keygrant")
    return [
        {**each, "revoke_url": url("revoke", key, each["grant"].pk) if may_revoke else ""}
        for each in grants.listed_on(key)
    ]


def _if_may(
    request: HttpRequest, key: MasterKey, codename: str, url: Callable[[], str]
) -> str | None:
    return url() if rights.may(request, Action.MANAGE_GRANTS, key, codename) else None
