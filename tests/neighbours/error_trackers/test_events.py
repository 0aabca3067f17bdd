"""Events of Sentry's SDK, as its transport gets them, hold no value of an encrypted field."""

import json
import logging

import pytest
import sentry_sdk
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.db.models import Q
from django.db.models.sql.compiler import SQLInsertCompiler, SQLUpdateCompiler
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from rest_framework.generics import CreateAPIView
from rest_framework.serializers import ModelSerializer
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.transport import Transport

from envelope_fields.policy import APPLICATION, acting_as
from envelope_fields.reporting import before_send
from tests.neighbours.error_trackers.models import Note

pytestmark = pytest.mark.django_db

SECRET = "diabetes mellitus since '97"
IN_JSON = "hæmophilia ünd mehr"
LONG = "from the beginning on, " * 100
SEEN = "an ordinary title"


class NoteSerializer(ModelSerializer):
    class Meta:
        model = Note
        fields = ("title", "notes", "record")


class Create(CreateAPIView):
    authentication_classes = ()
    permission_classes = ()
    queryset = Note.objects.all()
    serializer_class = NoteSerializer


WAYS = {
    "create": lambda: Note.objects.create(title=SEEN, notes=SECRET, record=[IN_JSON, LONG]),
    "get_or_create": lambda: Note.objects.get_or_create(
        title=SEEN, defaults={"notes": SECRET, "record": {"of": IN_JSON}}
    ),
    "update_or_create": lambda: Note.objects.update_or_create(
        title=SEEN, defaults={"notes": SECRET, "record": {IN_JSON: LONG}}
    ),
    "save": lambda: Note(title=SEEN, notes=SECRET, record=IN_JSON).save(),
    "update": lambda: Note.objects.update(title=SEEN, notes=SECRET, record=LONG),
    "filter": lambda: list(Note.objects.filter(title=SEEN, notes=SECRET)),
    "filter by Q": lambda: list(Note.objects.filter(Q(title=SEEN) | Q(notes__icontains=SECRET))),
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
    path("api/", Create.as_view()),
    path("admin/", admin.site.urls),
]


class Kept(Transport):
    def __init__(self):
        super().__init__()
        self.events = []

    def capture_envelope(self, envelope):
        self.events += [event for event in [envelope.get_event()] if event]


@pytest.fixture(autouse=True)
def sent(settings, monkeypatch):
    settings.ROOT_URLCONF = __name__
    was = {kind: kind.execute_sql for kind in (SQLInsertCompiler, SQLUpdateCompiler)}

    def execute_sql(self, *args, **kwargs):
        if self.query.get_meta().model is Note:
            raise IntegrityError("no")
        return was[type(self)](self, *args, **kwargs)

    for kind in was:
        monkeypatch.setattr(kind, "execute_sql", execute_sql)
    kept = Kept()
    sentry_sdk.init(
        dsn="https://key@sentry.example/1", transport=kept, before_send=before_send,
        integrations=[DjangoIntegration()], default_integrations=True,
        max_request_body_size="always", auto_session_tracking=False,
    )  # fmt: skip
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


def test_addresses(client, sent):
    client.get("/fails/create/", {"notes": "of a query", "title": "t"})
    (event,) = hidden(sent)
    assert "of a query" not in json.dumps(event["request"])


def test_what_cannot_be_looked_through_is_not_sent(client, sent, monkeypatch):
    def fail(*args):
        raise RecursionError

    monkeypatch.setattr("envelope_fields.reporting.trackers._cleansed", fail)
    client.get("/fails/create/")
    (event,) = sent
    assert "could not look through this event (RecursionError)" in event["message"]
    assert SECRET not in str(event)
