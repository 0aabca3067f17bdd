"""Counting uses of keys answers nobody's request, and opens nothing for one that used no key."""

import pytest
from django.core.signals import request_finished
from django.db import InterfaceError, OperationalError, connections
from django.http import HttpResponse
from django.test import Client, SimpleTestCase
from django.test.testcases import DatabaseOperationForbidden
from django.urls import path
from django.utils import timezone

from envelope_fields import keyring
from envelope_fields.audit import denials, uses as key_uses
from envelope_fields.audit.uses import Day
from envelope_fields.audit.write_behind import _database_name
from envelope_fields.fields import open_values
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent, KeyUse
from envelope_fields.policy import ANONYMOUS, APPLICATION, Action, Denial, acting_as
from tests.models import Note
from tests.policy.test_middleware import asgi

PLAIN, READS = "/plain/", "/reads/"


def plain(request):
    return HttpResponse("fine")


def looked_at(note):
    open_values([note])
    return note.text


def reads(request):
    with acting_as(APPLICATION):
        return HttpResponse(looked_at(Note.objects.using("default").get()))


async def reads_async(request):
    with acting_as(APPLICATION):
        return HttpResponse(looked_at(await Note.objects.using("default").aget()))


urlpatterns = [path("plain/", plain), path("reads/", reads), path("reads/async/", reads_async)]


def client_get(address):
    return Client().get(address).content


def kept():
    """Return how many uses are counted, and not written."""
    counted = sum(each.used.times for each in key_uses.buffer._counted)
    return counted + sum(day.uses for day in key_uses.buffer.days.values())


@pytest.fixture(autouse=True)
def _due(settings, monkeypatch, no_uses_of_other_tests):
    settings.ROOT_URLCONF = __name__
    monkeypatch.setattr(key_uses.buffer, "due_at", 0)
    monkeypatch.setattr(denials.buffer, "due_at", 0)


@pytest.fixture
def _used(_due):
    """A use that this process has not written yet."""
    which = (b"12345678", timezone.now().date(), "encrypt", "fields")
    key_uses.buffer.days[which] = Day(uses=1)


@pytest.mark.usefixtures("_used")
class TestWithoutADatabase:
    """pytest-django raises RuntimeError where a test has not asked for a database."""

    def test_a_view_that_used_no_key(self, client, caplog):
        assert client.get(PLAIN).content == b"fine"
        assert caplog.records == []
        assert len(key_uses.buffer.days) == 1

    def test_one_that_used_a_key_that_was_known(self, client, caplog, monkeypatch):
        def knows(request):
            keyring.this_thread.has_used_key = True
            return HttpResponse("fine")

        monkeypatch.setattr("tests.audit.test_write_behind.urlpatterns", [path("knows/", knows)])
        assert client.get("/knows/").content == b"fine"
        assert "RuntimeError" in caplog.text
        assert len(key_uses.buffer.days) == 1

    def test_the_end_of_the_process(self, monkeypatch, caplog):
        monkeypatch.setattr(key_uses.buffer, "database", _database_name())
        key_uses.buffer.at_end()
        assert "RuntimeError" in caplog.text
        assert len(key_uses.buffer.days) == 1


class TestOfDjango(SimpleTestCase):
    """Django's own raise an AssertionError."""

    @pytest.fixture(autouse=True)
    def _unblocked(self, django_db_blocker, _used, caplog):
        self.caplog = caplog
        with django_db_blocker.unblock():
            yield

    def test_a_view_that_used_no_key(self):
        assert self.client.get(PLAIN).content == b"fine"

    def test_a_request_that_used_a_key_that_was_known(self):
        with pytest.raises(DatabaseOperationForbidden):
            connections["default"].cursor()
        keyring.this_thread.has_used_key = True
        request_finished.send(None)
        assert "DatabaseOperationForbidden" in self.caplog.text
        assert len(key_uses.buffer.days) == 1


DOWN = {
    "sqlite": {"NAME": "/nonexistent/keys.sqlite3"},
    "postgresql": {"PORT": "1"},
    "mysql": {"PORT": "1"},
}


@pytest.mark.django_db(transaction=True, databases="__all__")
class TestKeysOfTheirOwn:
    @pytest.fixture(autouse=True)
    def keys(self, settings):
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "DATABASE": "other"}
        keyring.evict()
        create_master_key("default")
        yield connections["other"]
        keyring.evict()

    @pytest.fixture
    def note(self, keys):
        return Note.objects.using("default").create(text="value", data=None)

    @pytest.fixture
    def down(self, note, keys, monkeypatch):
        _ = Note.objects.using("default").get().text  # keys are read, and known for a minute
        keys.close()
        for name, value in DOWN[keys.vendor].items():
            monkeypatch.setitem(keys.settings_dict, name, value)
        monkeypatch.setattr(key_uses.buffer, "due_at", 0)
        attempts = []
        connect = keys.connect

        def counted():
            attempts.append(1)
            connect()

        monkeypatch.setattr(keys, "connect", counted)
        return attempts

    def test_they_are_down(self, client, down, caplog):
        for _ in range(2):
            assert client.get(PLAIN).content == b"fine"
        assert (down, caplog.records) == ([], [])
        assert client.get(READS).content == b"value"
        assert (down, "OperationalError" in caplog.text) == ([1], True)
        assert client.get(PLAIN).content == b"fine"
        assert down == [1]
        assert kept() == 3

    def test_a_denied_attempt_waits(self, client, keys, request):
        """Whoever comes next does not wait for a database that is down, each time again."""
        lab = create_master_key("lab")
        attempts = request.getfixturevalue("down")
        denials.note(Denial(ANONYMOUS, Action.DECRYPT, lab.pk, "lab", "tests.labnote.text"))
        attempts.clear()
        for _ in range(3):
            assert client.get(PLAIN).content == b"fine"
        assert attempts == [1]
        request.getfixturevalue("monkeypatch").undo()
        denials.buffer.write_if_due()
        assert AuditEvent.objects.using("other").get(outcome="denied").key_id == lab.pk

    @pytest.mark.parametrize("get", [client_get, asgi])
    @pytest.mark.parametrize("address", [READS, "/reads/async/"])
    def test_they_are_up(self, address, get, note, keys):
        _ = Note.objects.using("default").get().text
        key_uses.buffer.due_at = 0
        assert get(PLAIN) == b"fine"
        assert KeyUse.objects.using("other").count() == 0
        keys.close()
        assert get(address) == b"value"
        assert keys.connection is None
        assert {(use.action, use.uses) for use in KeyUse.objects.using("other")} == {
            ("encrypt", 1),
            ("decrypt", 2),
        }

    @pytest.mark.parametrize("error", [OperationalError, InterfaceError])
    def test_they_fail_meanwhile(self, error, client, note, monkeypatch):
        def fail(*_):
            raise error

        monkeypatch.setattr(key_uses, "write", fail)
        key_uses.buffer.due_at = 0
        assert client.get(READS).content == b"value"
        assert kept() == 2
