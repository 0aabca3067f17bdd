"""What loaded values keep of the keyring: whom it serves, and when it ends."""

import asyncio
import gc
import logging
import os
import pickle
import threading
from contextlib import closing
from datetime import timedelta
from weakref import ref

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from envelope_fields import keyring
from envelope_fields.exceptions import (
    EnvelopeError,
    KeyAccessDenied,
    MasterKeyUnusable,
    OpeningNeedsThread,
)
from envelope_fields.fields.masks import shown
from envelope_fields.grants import grant
from envelope_fields.keyring import cache
from envelope_fields.lifecycle import create_master_key, disable
from envelope_fields.models import KeyState, MasterKey
from envelope_fields.policy import APPLICATION, acting_as
from envelope_fields.policy.principals import bound, principal_of
from envelope_fields.policy.requests import handled
from tests.keyring import harvest_uses
from tests.keyring.clock import Clock
from tests.models import LabNote, Note
from tests.stored import store

pytestmark = pytest.mark.django_db

VALUE = "The patient is fine."


@pytest.fixture
def note():
    return Note.objects.create(title="t", text=VALUE, data={"a": [1]})


@pytest.fixture
def users(django_user_model):
    create_master_key("lab")
    ann, ben = (django_user_model.objects.create_user(name) for name in ("ann", "ben"))
    grant("lab", ann, ["encrypt", "decrypt"])
    with acting_as(ann):
        for _ in range(3):
            LabNote.objects.create(text=VALUE)
    return ann, ben


def in_event_loop(look):
    async def run():
        return look()

    return asyncio.run(run())


@pytest.mark.django_db(transaction=True)
class TestWhoLoads:
    def test_another_principal_from_one_row_to_the_next(self, users):
        ann, ben = users
        with handled(), closing(LabNote.objects.iterator()) as notes:
            with acting_as(ann):
                first = next(notes)
            with acting_as(ben):
                second = next(notes)
                with pytest.raises(KeyAccessDenied, match=r"loaded by .*ben"):
                    _ = second.text
            with pytest.raises(KeyAccessDenied):  # unbound: ben was not admitted
                _ = second.text
            assert first.text == VALUE

    def test_another_user_behind_an_actor_by_now(self, users):
        class Login:
            user = users[1]

            def principal(self):
                return principal_of(self.user)

        login = Login()
        with bound(login):
            found = LabNote.objects.first()
            login.user = users[0]
            assert found.text == VALUE
            login.user = users[1]
            found = LabNote.objects.first()
        login.user = users[0]
        with acting_as(users[1]), pytest.raises(KeyAccessDenied, match=r"loaded by .*ben"):
            _ = found.text

    def test_no_request_is_kept(self, note):
        class Request:
            def principal(self):
                return APPLICATION

        request = Request()
        with bound(request):
            found = Note.objects.get()
        gone = ref(request)
        del request
        gc.collect()
        assert gone() is None
        assert found.text == VALUE

    def test_a_grant_that_ends(self, users, monkeypatch):
        ends = timezone.now() + timedelta(days=1)
        grant("lab", users[1], ["decrypt"], expires_at=ends)
        with handled():
            with acting_as(users[1]):
                first, second = LabNote.objects.all()[:2]
                assert first.text == VALUE
            with pytest.raises(KeyAccessDenied):  # it is asked for each time
                _ = second.text
            monkeypatch.setattr("django.utils.timezone.now", lambda: ends)
            with acting_as(users[1]), pytest.raises(KeyAccessDenied):
                _ = second.text


class TestItsEnd:
    def test_while_rows_are_loaded(self, note):
        Note.objects.create(text="second")
        with closing(Note.objects.order_by("pk").iterator()) as notes:
            next(notes)
            keyring.forget()
            found = next(notes)
        assert in_event_loop(lambda: found.text) == "second"

    def test_no_key_outlives_it(self, note):
        assert Note.objects.get().text == VALUE
        found = Note.objects.get()
        table = vars(found)["text"].handle.table
        assert table.unwrapping
        keyring.evict()
        for kept in (table.unwrapping, table.wrapping, table.handles):
            assert not kept
        assert found.text == VALUE
        assert not table.unwrapping

    def test_no_key_outlives_its_time(self, note, monkeypatch):
        keyring.forget()
        found = Note.objects.get()
        assert found.text == VALUE
        table = cache.known.table
        assert table.unwrapping
        now = table.deadline + 1
        for module in (cache, keyring.table, keyring.values, keyring.handles):
            monkeypatch.setattr(module, "uptime", lambda: now)
        assert Note.objects.get().text == VALUE
        assert cache.known.table is not table
        assert not table.unwrapping

    def test_two_threads_refresh_at_once(self, note, monkeypatch):
        keyring.forget()
        made = []

        def table_now(original=cache.table_now):
            if not made:
                made.append(None)
                cache.current_table(at_half_life=True)  # as another thread, meanwhile
                made.append(cache.known.table)
            return original()

        monkeypatch.setattr(cache, "table_now", table_now)
        cache.current_table(at_half_life=True)
        assert made[1] is not cache.known.table
        keyring.forget()
        assert made[1].deadline == 0

    @pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has one writer at a time")
    @pytest.mark.django_db(transaction=True)
    def test_not_with_what_another_thread_has_not_committed(self, note):
        made, done = threading.Event(), threading.Event()

        def change():
            try:
                with transaction.atomic():
                    create_master_key("of-another-thread")
                    made.set()
                    done.wait(30)
            finally:
                made.set()
                connections.close_all()

        assert Note.objects.get().text == VALUE
        thread = threading.Thread(target=change)
        thread.start()
        try:
            made.wait(30)
            found = Note.objects.get()
            assert Note.objects.get().text == VALUE
            assert in_event_loop(lambda: found.text) == VALUE
        finally:
            done.set()
            thread.join()


@pytest.mark.django_db(transaction=True)
class TestElsewhere:
    def test_in_a_process_that_was_forked(self, note):
        found = Note.objects.get()
        assert Note.objects.get().text == VALUE
        pickled = pickle.dumps(found)
        connections.close_all()
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                opened = [found.text, pickle.loads(pickled).text]
                found.title = "of the child"
                found.save()
                uses = sum(harvest_uses().values())
                os.write(writer, repr((opened, uses)).encode())
            finally:
                os._exit(0)
        os.close(writer)
        assert os.read(reader, 1000).decode() == repr(([VALUE, VALUE], 3))
        os.close(reader)
        os.waitpid(child, 0)
        assert Note.objects.get().title == "of the child"

    @pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has no such level")
    def test_of_a_transaction_that_sees_the_past(self, note):
        keyring.evict()
        with transaction.atomic():
            if connection.vendor == "postgresql":  # the default of MariaDB
                connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            first, second, third = (Note.objects.get() for _ in range(3))
            with CaptureQueriesContext(connection) as queries:
                assert first.text == VALUE
            assert len(queries) == 0
            table = vars(second)["text"].handle.table
        assert second.text == VALUE
        disable("default")
        with pytest.raises(MasterKeyUnusable):
            _ = third.text
        assert not table.unwrapping


@pytest.mark.django_db(transaction=True)
@pytest.mark.django_db(transaction=True)
def test_versions_that_were_known_are_read_anew_in_one_query(monkeypatch):
    keys = [create_master_key(f"tenant-{number}") for number in range(5)]
    version_ids = [bytes(key.current_version.version_id) for key in keys]
    clock = Clock(monkeypatch)

    def look():
        with CaptureQueriesContext(connection) as queries:
            states = [keyring.version_of(each).key_state for each in version_ids]
        return states, len(queries)

    look()
    MasterKey.objects.filter(pk=keys[3].pk).update(state=KeyState.DISABLED)  # it begins anew
    look()
    clock.move(61)
    states, few = look()
    assert states == ["enabled"] * 3 + ["disabled", "enabled"]
    assert few == 2  # for how long they may be known, and all of them
    clock.move(61)
    keyring.version_of(version_ids[0])
    clock.move(61)
    keyring.version_of(version_ids[0])
    assert set(cache.known.table.versions) == {version_ids[0]}
    assert look()[1] == len(keys) - 1  # what was not needed any more was not read any more


def test_loading_asks_nothing_where_nothing_is_kept(note, settings):
    Note.objects.create(text="second")
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    list(Note.objects.all())  # SQLite is asked once how its transactions see others
    with CaptureQueriesContext(connection) as queries:
        found = list(Note.objects.order_by("pk"))
    assert len(queries) == 1
    assert [each.text for each in found] == [VALUE, "second"]


class TestFailures:
    def test_settings_that_are_wrong_are_logged(self, note, settings, caplog):
        found = Note.objects.get()
        keyring.evict()
        root_key = {
            "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
            "OPTIONS": {"key": "A" * 43 + "="},
        }
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"another": root_key}}
        match = rf"tests\.Note\.text: .* primary key {note.pk}\."
        with caplog.at_level(logging.ERROR), pytest.raises(ImproperlyConfigured, match=match):
            _ = found.text
        assert "could not be opened" in caplog.text
        before = vars(found)["text"]
        found.text = "⚠ cannot be opened"
        assert vars(found)["text"] is before

    def test_a_user_who_would_have_to_be_asked_for(self, note):
        class Lazy:
            def principal(self):
                Note.objects.exists()
                return APPLICATION

        found = pickle.loads(pickle.dumps(Note.objects.get()))
        keyring.forget()
        with bound(Lazy()), pytest.raises(OpeningNeedsThread, match="arefresh_from_db"):
            in_event_loop(lambda: found.text)

    def test_an_event_loop_is_no_damage(self, note):
        found = Note.objects.get()
        keyring.evict()
        with shown(found), pytest.raises(OpeningNeedsThread):
            in_event_loop(lambda: found.text)

    def test_a_comparison_shows_no_value_in_an_error_report(self, note):
        other = vars(Note.objects.get())["text"]
        store(note, "text", b"\1" + b"x" * 150)
        damaged = vars(Note.objects.get())["text"]
        for value in (other, VALUE):
            with pytest.raises(EnvelopeError) as caught:
                _ = damaged == value
            ours = [
                entry.frame.f_locals
                for entry in caught.traceback
                if entry.frame.f_globals["__name__"].startswith("envelope_fields.")
            ]
            assert ours
            assert VALUE not in repr(ours)

    @pytest.mark.django_db(transaction=True)
    def test_the_keys_of_another_principal(self, users):
        with acting_as(APPLICATION):
            found = LabNote.objects.first()
        with acting_as(users[1]), pytest.raises(KeyAccessDenied, match="loaded by application"):
            _ = found.text
