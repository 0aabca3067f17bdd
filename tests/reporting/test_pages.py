"""Django's reports of real failures, as ADMINS get them: no value, and all the rest."""

import html
import json
import logging
import re
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import pytest
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.models import User
from django.core import serializers
from django.db import models
from django.db.models import Value
from django.db.models.signals import post_init
from django.http import HttpResponse
from django.template import Context, Engine
from django.test import Client
from django.urls import path
from django.utils.functional import SimpleLazyObject
from django.utils.log import AdminEmailHandler
from django.views.debug import get_default_exception_reporter_filter

from envelope_fields import reporting
from envelope_fields.fields import EncryptedQuerySet, EncryptedTextField, open_values
from envelope_fields.policy import APPLICATION, acting_as
from envelope_fields.reporting import (
    EncryptedFieldsReporter,
    EncryptedFieldsReporterFilter,
    secrets,
)
from envelope_fields.reporting.finding import Found
from envelope_fields.reporting.secrets import without_secrets
from tests.models import Note
from tests.models.keyed import apps
from tests.reporting.failing import IN_JSON, SECRET, SEEN, nothing_written, views, ways
from tests.rotation import put
from tests.stored import stored

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]

CREATE, UPDATE = views(Note, "text", "data")

site = AdminSite()
site.register(Note, ModelAdmin)

WAYS = ways(Note, "text", "data") | {
    "update of a Value": lambda: Note.objects.update(
        text=Value(SECRET, output_field=Note._meta.get_field("text")), data=IN_JSON
    ),
    "bulk_update": lambda: Note.objects.bulk_update(
        [Note(pk=note.pk, text=SECRET) for note in Note.objects.all()], ["text"]
    ),
}


def fails(request, way):
    derived = f"they have {SECRET}"
    with acting_as(APPLICATION):
        WAYS[way]()
    return HttpResponse(derived)


class Dto:
    def __init__(self, said):
        self.said = said

    def __repr__(self):
        return f"Dto({self.said!r})"


def of_ones_own(request):
    with acting_as(APPLICATION):
        note = Note.objects.get()
        note.text = SECRET
        copied, dto, pair = note.text, Dto(SECRET), (SECRET, 1)  # noqa: F841 - shown
        raise RuntimeError("of a view")


urlpatterns = [
    path("fails/<way>/", fails),
    path("own/", of_ones_own),
    path("api/", CREATE.as_view()),
    path("api/<pk>/", UPDATE.as_view()),
    path("admin/", site.urls),
]


class Reports(AdminEmailHandler):
    """Makes the reports that are sent to ADMINS, and keeps them."""

    def __init__(self):
        super().__init__(
            include_html=True, reporter_class="envelope_fields.reporting.EncryptedFieldsReporter"
        )
        self.sent = []

    def send_mail(self, subject, message, *args, html_message=None, **kwargs):
        self.sent.append((subject + message, html_message))


REPORTS = Reports()


class Report:
    """The one that was sent."""

    def __init__(self):
        ((self.text, page),) = REPORTS.sent
        self.page = html.unescape(re.sub(r"<[^>]*>", " ", page))

    def __contains__(self, text):
        # Long texts are shown in several pieces.
        flat = re.sub(r"['\"]?\s+['\"]?", " ", self.page)
        return text in flat or text in self.page or text in self.text


@pytest.fixture(autouse=True)
def _reports(settings, caplog):
    settings.ROOT_URLCONF = __name__
    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = (
        "envelope_fields.reporting.EncryptedFieldsReporterFilter"
    )
    settings.DEFAULT_EXCEPTION_REPORTER = "envelope_fields.reporting.EncryptedFieldsReporter"
    get_default_exception_reporter_filter.cache_clear()
    REPORTS.sent.clear()
    logger = logging.getLogger("django.request")
    logger.addHandler(REPORTS)
    yield
    logger.removeHandler(REPORTS)
    get_default_exception_reporter_filter.cache_clear()


@pytest.fixture
def note():
    return Note.objects.create(title=SEEN, text="before", data=None)


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


@pytest.fixture
def broken(note):
    with nothing_written(Note):
        yield


def reported():
    report = Report()
    for secret in (SECRET, IN_JSON, repr(SECRET)[1:-1], ascii(IN_JSON)[1:-1], SECRET[:20]):
        assert secret not in report
    return report


@pytest.mark.parametrize("way", WAYS)
def test_what_django_writes(way, client, broken):
    assert client.get(f"/fails/{way}/").status_code == 500
    report = reported()
    assert "derived" in report
    assert "they have ****" in report
    assert SEEN in report or way != "create"


@pytest.mark.parametrize("send", ["post", "put"])
@pytest.mark.parametrize("content_type", ["application/json", None])
def test_rest_framework(send, content_type, client, broken, note):
    data = {"title": SEEN, "text": SECRET, "data": f'["{IN_JSON}"]'}
    if content_type:
        data["data"] = [IN_JSON]
    elif send == "put":
        pytest.skip("the client has no form for it")
    where = "/api/" if send == "post" else f"/api/{note.pk}/"
    kwargs = {"content_type": content_type} if content_type else {}
    assert getattr(client, send)(where, data, **kwargs).status_code == 500
    assert "NoteSerializer" in reported()


def test_the_admin(client, broken):
    client.force_login(User.objects.create_superuser("root"))
    data = {"title": SEEN, "text": SECRET, "data": f'"{IN_JSON}"'}
    assert client.post("/admin/tests/note/add/", data).status_code == 500
    report = reported()
    assert SEEN in report
    assert "csrfmiddlewaretoken" not in report


def test_copies_that_a_view_made(client, note):
    assert client.get("/own/").status_code == 500
    report = reported()
    assert 'Dto("****' in report
    assert f"<tests.Note {note.pk}>" in report


@dataclass(slots=True)
class Slotted:
    text: str


class Bed:
    def __init__(self, note):
        self.note = note

    def label(self):
        raise ValueError(f"no bed for {self.note.text}")


def in_slots():
    payload = Slotted(json.loads(json.dumps(SECRET)))  # noqa: F841 - shown
    raise RuntimeError


def in_a_partial():
    job = partial(print, text=json.loads(json.dumps(SECRET)))  # noqa: F841 - shown
    raise RuntimeError


def in_a_template():
    page = Engine(debug=True).from_string("{{ bed.label }}")
    page.render(Context({"bed": Bed(Note(text=SECRET))}))


@pytest.mark.parametrize("fail", [in_slots, in_a_partial, in_a_template])
def test_what_holds_a_value(fail, client, monkeypatch):
    urls = [path("holds/", lambda request: fail())]
    monkeypatch.setattr("tests.reporting.test_pages.urlpatterns", urls)
    assert client.get("/holds/").status_code == 500
    assert "****" in reported()


def test_a_piece_of_a_value_that_cannot_be_encoded(client, monkeypatch):
    def view(request):
        note = Note(text=IN_JSON)
        note.text.encode("ascii")

    monkeypatch.setattr("tests.reporting.test_pages.urlpatterns", [path("piece/", view)])
    assert client.get("/piece/").status_code == 500
    report = reported()
    assert IN_JSON[:5] not in report
    assert "UnicodeEncodeError" in report


def test_a_user_who_is_named_by_a_value(rf, monkeypatch):
    monkeypatch.setattr(Note, "__str__", lambda note: f"{note.title}: {note.text}")
    request = rf.get("/")
    request.user = request._cached_user = Note(title=SEEN, text=SECRET)
    data = EncryptedFieldsReporter(request, RuntimeError, RuntimeError(), None).get_traceback_data()
    assert data["user_str"] == f"{SEEN}: ********************"


def test_json_that_is_posted_as_a_form(client):
    """A form's names are shown, and this is all in one: what curl sends unless it is told."""
    posted = json.dumps({"text": "of a client"})
    client.post("/own/", posted, content_type="application/x-www-form-urlencoded")
    assert "of a client" not in reported()


READS = {
    "all": lambda: open_values(Note.objects.all()),
    "opened": lambda: list(EncryptedQuerySet(Note).opened()),
    "values": lambda: list(Note.objects.values("title", "text", "data")),
    "raw": lambda: open_values(Note.objects.raw("SELECT id, title, text, data FROM tests_note")),
}


@pytest.mark.parametrize("way", READS)
def test_what_was_read_beside_a_value_that_does_not_open(way, client, note, monkeypatch):
    def view(request):
        with acting_as(APPLICATION):
            READS[way]()

    monkeypatch.setattr("tests.reporting.test_pages.urlpatterns", [path("reads/", view)])
    Note.objects.filter(pk=note.pk).update(text=SECRET, data=[IN_JSON])
    envelope = stored(note, "data")
    put(note, "data", envelope[:-1] + bytes([envelope[-1] ^ 1]))
    assert client.get("/reads/").status_code == 500
    assert "DecryptionFailed" in reported()


@pytest.mark.parametrize("lacking", [False, True])
def test_an_object_that_cannot_be_made(lacking, client, note, monkeypatch):
    def fail(instance, **kwargs):
        raise RuntimeError

    def view(request):
        with acting_as(APPLICATION):
            Note.objects.defer("data").get() if lacking else Note.objects.get()

    monkeypatch.setattr("tests.reporting.test_pages.urlpatterns", [path("reads/", view)])
    Note.objects.filter(pk=note.pk).update(text=SECRET, data=[IN_JSON])
    post_init.connect(fail, sender=Note)
    try:
        assert client.get("/reads/").status_code == 500
    finally:
        post_init.disconnect(fail, sender=Note)
    assert SEEN in reported()


def test_an_object_of_a_fixture(client, note, monkeypatch):
    def view(request):
        with acting_as(APPLICATION):
            (loaded,) = serializers.deserialize("json", text)
            said = f"of {loaded.object.text}"  # noqa: F841 - shown
            raise RuntimeError

    monkeypatch.setattr("tests.reporting.test_pages.urlpatterns", [path("loads/", view)])
    note.text = SECRET
    text = serializers.serialize("json", [note])
    assert client.get("/loads/").status_code == 500
    assert "of ****" in reported()


def test_while_debug_is_on(client, broken, settings):
    settings.DEBUG = True
    page = client.get("/fails/create/").content.decode()
    assert SECRET not in html.unescape(page)
    assert SEEN in html.unescape(page)


@pytest.mark.parametrize("named", [False, True])
def test_rows_without_a_model(named, client, note, monkeypatch):
    def view(request):
        with acting_as(APPLICATION):
            rows = Note.objects.values("title", "text")
            one = Note.objects.values_list("title", "text", named=True).get() if named else rows[0]
        said = f"{one}"  # noqa: F841 - shown
        raise RuntimeError

    monkeypatch.setattr("tests.reporting.test_pages.urlpatterns", [path("rows/", view)])
    Note.objects.filter(pk=note.pk).update(text=SECRET)
    assert client.get("/rows/").status_code == 500
    assert SEEN in reported()


def test_what_django_hides_is_hidden(rf):
    request = rf.post("/", {"password": "of somebody", "title": SEEN, "form-0-text": "short"})
    request.sensitive_post_parameters = ["password"]
    posted = EncryptedFieldsReporterFilter().get_post_parameters(request)
    hidden = "********************"
    assert posted == {"password": hidden, "title": SEEN, "form-0-text": hidden}


@pytest.mark.parametrize("name", ["text", "q"])
def test_messages_and_addresses(name, client, note, monkeypatch):
    def view(request):
        given = Note(text=request.GET[name])
        try:
            raise ValueError(given.text)
        except ValueError as error:
            problem = RuntimeError(f"not with {given.text}")
            problem.add_note(f"that is {given.text}")
            raise problem from error

    monkeypatch.setattr("tests.reporting.test_pages.urlpatterns", [path("asks/", view)])
    query = {name: SECRET, "title": SEEN}
    assert client.get("/asks/", query).status_code == 500
    report = reported()
    assert "not with ****" in report
    assert SEEN in report
    assert "diabetes" not in report


class Gone(BytesIO):
    def read(self, *_):
        raise OSError("the client has gone")


def unreadable(rf):
    request = rf.post("/", query_params={"text": SECRET})
    request._stream = Gone()
    return request


def with_much_more(rf):
    much = {f"a{number}": "b" for number in range(1_000)}
    request = rf.post("/", much, query_params=much)
    request.user = Dto(Dto({"text": SECRET}))
    return request


@pytest.mark.parametrize("made", [unreadable, with_much_more])
def test_what_else_a_client_sends_or_does_not_hides_no_value(made, rf):
    assert reporting._found(made(rf), None).secrets.is_one(SECRET)


def test_the_message_of_one_that_cannot_be_looked_through(client, note, monkeypatch):
    def fail(*args):
        raise RecursionError

    monkeypatch.setattr("envelope_fields.reporting._cleanse", fail)
    assert client.get("/own/").status_code == 500
    assert "Exception Value: <hidden: looking through it raised RecursionError>" in reported()


def test_addresses(rf):
    request = rf.get("/", {"text": SECRET})
    meta = EncryptedFieldsReporterFilter().get_safe_request_meta(request)
    assert meta["QUERY_STRING"] == "********************"
    assert meta["REQUEST_METHOD"] == "GET"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("text", True), ("data", True), ("TEXT", True), ("text__icontains", True),
        ("note__text", True), ("form-2-text", True), ("text_0", True), ("note.text", True),
        ("context", False), ("texts", False), ("title", False), (None, False), (5, False),
    ],
)  # fmt: skip
def test_names(name, is_one):
    assert (name in secrets.EncryptedNames()) is is_one


def test_what_cannot_be_looked_through_is_hidden(client, note, monkeypatch):
    def fail(*args):
        raise RecursionError

    monkeypatch.setattr("envelope_fields.reporting.without_secrets", fail)
    assert client.get("/own/").status_code == 500
    assert "looking through it raised RecursionError" in reported()


def test_nothing_is_asked_of_a_database_or_of_a_lazy_object(note, django_assert_num_queries):
    made = []
    lazy = SimpleLazyObject(lambda: made.append(1))
    found = Found()
    with django_assert_num_queries(0):
        found.look_into([{"held": lazy}])
        without_secrets("held", [lazy], found.secrets)
        for model in (Note, User):  # what a row says of itself may be of another one
            rows, row = model.objects.all(), model(pk=5)
            label = model._meta.label
            assert str(without_secrets("held", rows, found.secrets)) == f"<QuerySet of {label}>"
            assert without_secrets("held", row, found.secrets) == f"<{label} 5>"
    assert made == []


def test_a_value_without_text_is_none():
    class Counted(models.Model):
        count = EncryptedTextField()

        class Meta:
            apps = apps
            app_label = "keyed"

    assert secrets.encrypted_fields(Counted) == [Counted._meta.get_field("count")]
