"""The HTTP API: officers, readers and nobody, by Django's test client, and by real ones."""

from envelope_fields.models import AuditEvent
from envelope_fields.policy import Action
from tests.admin import officer

ROOT = "/api/v1/"
READER = ("view_masterkey", "view_keygrant", "view_auditevent", "view_rotationrun")


def url(*parts):
    return ROOT + "".join(f"{part}/" for part in parts)


def key_url(key, *parts):
    return url("keys", key.pk, *parts)


def reader(name="rita", *, key=None):
    """Somebody who may see everything, and change nothing."""
    return officer(name, permissions=READER, key=key, actions=[Action.DESCRIBE, Action.VIEW_AUDIT])


def problem(response, status, code=None):
    """Return the problem that an answer tells of, if it is one of this kind."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    said = response.json()
    assert said["status"] == status
    assert {"type", "title", "detail", "code"} <= set(said)
    if code is not None:
        assert said["code"] == code, said
    return said


def last_event():
    return AuditEvent.objects.latest("number")


def wrong_fields(response):
    """Return the names of the fields that a 400 is about."""
    return {each["field"] for each in problem(response, 400, "invalid")["errors"]}
