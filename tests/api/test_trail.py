"""Each change over HTTP is in the trail: once, by whom, from where, and in which request."""

import pytest
from django.conf import settings as project

from envelope_fields import audit
from envelope_fields.models import AuditEvent, KeyGrant, RotationRun
from tests.api import url
from tests.api.rotations import with_worker

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

KEY = "keys/alias:tenant/"
AGREED = {"confirm": "tenant", "fields": []}
DAY = [
    ("post", "keys/", {"alias": "new"}, "create_key create_grant"),
    ("patch", KEY, {"description": "x", "rotation_period": 365}, "update_key"),
    ("patch", KEY, {"application_use": False}, "update_key"),
    ("patch", "keys/alias:new/", {"alias": "newer"}, "move_alias"),
    ("post", f"{KEY}rotate/", None, "rotate"),
    ("post", f"{KEY}versions/1/disable/", None, "disable"),
    ("post", f"{KEY}versions/1/enable/", None, "enable"),
    ("post", f"{KEY}versions/1/schedule-deletion/", {"days": 7}, "schedule_deletion"),
    ("post", f"{KEY}versions/1/cancel-deletion/", None, "cancel_deletion"),
    ("post", f"{KEY}versions/1/enable/", None, "enable"),
    ("post", f"{KEY}versions/1/shred/", AGREED, "disable"),
    ("post", f"{KEY}versions/1/shred/", AGREED, "shred"),
    ("post", f"{KEY}grants/", {"user": "olga", "actions": ["decrypt"]}, "create_grant"),
    ("delete", f"{KEY}grants/{{grant}}/", None, "revoke_grant"),
    ("post", "rotations/", {"key": "alias:tenant"}, "start_rotation"),
    ("post", "rotations/{run}/pause/", None, "pause_rotation"),
    ("post", "rotations/{run}/resume/", None, "resume_rotation"),
    ("post", "rotations/{run}/cancel/", None, "cancel_rotation"),
    ("post", f"{KEY}disable/", None, "disable"),
    ("post", f"{KEY}enable/", None, "enable"),
    ("post", f"{KEY}schedule-deletion/", {"days": 7}, "schedule_deletion"),
    ("post", f"{KEY}cancel-deletion/", None, "cancel_deletion"),
    ("post", f"{KEY}enable/", None, "enable"),
    ("post", f"{KEY}shred/", AGREED, "disable"),
    ("post", f"{KEY}shred/", AGREED, "shred"),
]


def test_the_trail_of_a_day(api, key, settings):
    settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    with_worker(settings, "Patient")
    said = []
    for number, (method, path, content, _) in enumerate(DAY):
        named = {"grant": _newest(KeyGrant), "run": _newest(RotationRun)}
        address = url(path.format(**named).rstrip("/"))
        headers = {"X-Request-ID": f"day-{number}"}
        response = getattr(api, method)(address, content, headers=headers)
        assert response.status_code < 300, (path, response.content)
        events = AuditEvent.objects.filter(request_id=f"day-{number}").order_by("number")
        said.append(" ".join(event.action for event in events))
        assert {(event.actor_name, event.address, event.outcome) for event in events} == {
            ("olga", "127.0.0.1", "done")
        }, path
    assert said == [actions for _, _, _, actions in DAY]
    assert audit.verify().intact


def _newest(model):
    return model.objects.order_by("-created_at").values_list("pk", flat=True).first()
