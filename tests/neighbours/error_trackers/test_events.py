"""Events of Sentry's SDK, as its transport gets them, hold no value of an encrypted field."""

import json
import logging

import pytest
import sentry_sdk
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.transport import Transport

from envelope_fields.policy import APPLICATION, acting_as
from envelope_fields.reporting import before_send
from tests.neighbours.error_trackers.models import Note
from tests.reporting.failing import IN_JSON, SECRET, SEEN, nothing_written, views, ways

pytestmark = pytest.mark.django_db

LONG = "from the beginning on, " * 100
CREATE, _ = views(Note, "notes", "record")
WAYS = ways(Note, "notes", "record") | {
    "create of much": lambda: Note.objects.create(title=SEEN, notes=SECRET, record=[LONG]),
}


def fails(request, way):
    derived = f"{SEEN}: they have {SECRET}"
    sentry_sdk.add_breadcrumb(message=derived, data={"notes": SECRET, "title": SEEN})
    with acting_as(APPLICATION):
        WAYS[way]()
    return HttpResponse(derived)


def logs(request):
    with acting_as(APPLICATION):
        try:
            WAYS["create"]()
        except IntegrityError as error:
            logging.getLogger("clinic").exception("not written: %s, %s", SECRET, error)
    return HttpResponse("fine")


urlpatterns = [
    path("fails/<way>/", fails),
    path("logs/", logs),
    path("api/", CREATE.as_view()),
    path("admin/", admin.site.urls),
]


class Kept(Transport):
    def __init__(self):
        super().__init__()
        self.events = []

    def capture_envelope(self, envelope):
        self.events += [event for event in [envelope.get_event()] if event]


@pytest.fixture(autouse=True)
def sent(settings):
    settings.ROOT_URLCONF = __name__
    kept = Kept()
    sentry_sdk.init(
        dsn="https://key@sentry.example/1", transport=kept, before_send=before_send,
        integrations=[DjangoIntegration()], default_integrations=True,
        max_request_body_size="always", auto_session_tracking=False,
    )  # fmt: skip
    with nothing_written(Note):
        yield kept.events
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.init()


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


def hidden(events):
    assert events
    text = json.dumps(events, ensure_ascii=False)
    for secret in (SECRET, IN_JSON, LONG[:64], SECRET[:20], ascii(IN_JSON)[1:-1]):
        assert secret not in text
        assert json.dumps(secret)[1:-1] not in text
    assert "****" in text
    assert SEEN in text
    return events


@pytest.mark.parametrize("way", WAYS)
def test_what_django_writes(way, client, sent):
    assert client.get(f"/fails/{way}/").status_code == 500
    (event,) = hidden(sent)
    frames = event["exception"]["values"][-1]["stacktrace"]["frames"]
    assert frames[-1]["filename"].endswith(".py")
    assert any("derived" in frame["vars"] for frame in frames)


@pytest.mark.parametrize("content_type", ["application/json", None])
def test_rest_framework(content_type, client, sent):
    data = {"title": SEEN, "notes": SECRET, "record": json.dumps([IN_JSON])}
    kwargs = {"content_type": content_type} if content_type else {}
    assert client.post("/api/", data, **kwargs).status_code == 500
    (event,) = hidden(sent)
    assert event["request"]["data"]["title"] in (SEEN, [SEEN])
    assert "****" in str(event["request"]["data"]["notes"])


def test_the_admin(client, sent):
    client.force_login(User.objects.create_superuser("root"))
    data = {"title": SEEN, "notes": SECRET, "record": f'"{IN_JSON}"'}
    assert client.post("/admin/error_trackers/note/add/", data).status_code == 500
    (event,) = hidden(sent)
    assert event["request"]["data"]["title"] in (SEEN, [SEEN])


def test_what_is_logged(client, sent):
    assert client.get("/logs/").content == b"fine"
    hidden(sent)


def test_a_list_that_is_posted(client, sent):
    """Nothing of it is in a frame that has names: the view has not come to look at it."""
    posted = [{"title": SEEN, "notes": "of a client", "record": {"notes": "within"}}]
    client.post("/fails/create/", posted, content_type="application/json")
    (event,) = hidden(sent)
    assert [each["title"] for each in event["request"]["data"]] == [SEEN]
    assert "of a client" not in str(event)
    assert "within" not in str(event)


def test_json_that_is_posted_as_a_form(client, sent):
    posted = json.dumps({"notes": "of a client"})
    client.post("/fails/create/", posted, content_type="application/x-www-form-urlencoded")
    (event,) = hidden(sent)
    assert "of a client" not in str(event)


def test_a_message_without_an_error(client, sent, monkeypatch):
    def view(request):
        note = Note(title=SEEN, notes=SECRET)
        logging.getLogger("clinic").error("%s: not written: %s", SEEN, note.notes)
        return HttpResponse("fine")

    monkeypatch.setattr(f"{__name__}.urlpatterns", [path("says/", view)])
    assert client.get("/says/").content == b"fine"
    hidden(sent)


def test_addresses(client, sent):
    client.get("/fails/create/", {"notes": "of a query", "title": "t"})
    (event,) = hidden(sent)
    assert "of a query" not in json.dumps(event["request"])


def test_what_cannot_be_looked_through_is_not_sent(client, sent, monkeypatch):
    def fail(*args):
        raise RecursionError

    monkeypatch.setattr("envelope_fields.reporting._cleansed_part", fail)
    client.get("/fails/create/")
    (event,) = sent
    assert "could not look through this event (RecursionError)" in event["message"]
    assert SECRET not in str(event)
