"""For how long material is used that a root key opened, and what ends it."""

import asyncio
import os
import random
from threading import Event, Thread

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, transaction

from envelope_fields import keyring
from envelope_fields.conf import configuration
from envelope_fields.exceptions import (
    DecryptionFailed,
    EnvelopeError,
    MasterKeyUnusable,
    OpeningNeedsThread,
    RootKeyRefused,
    RootKeyUnavailable,
    WrappedKeyAltered,
)
from envelope_fields.keyring import age, cache, materials, rows, table
from envelope_fields.keyring.transfer import DerivedKeys
from envelope_fields.lifecycle import create_master_key, find_master_key, update_master_key
from envelope_fields.models import MasterKeyVersion
from envelope_fields.root_keys.local import LocalRootKey
from tests.event_loops import in_event_loop
from tests.keyring.clock import Clock
from tests.keyring.service import Service, asked, begin, entry
from tests.models import Note
from tests.settings import ROOT_KEY
from tests.waiting import until

pytestmark = pytest.mark.django_db
MAX_AGE, GRACE = 3600, 86_400
VALUE = "seen by two"


@pytest.fixture
def clock(monkeypatch):
    """Move the clocks that the age of material goes by."""
    moved = Clock(monkeypatch)

    def move(seconds, *clocks):
        moved.move(seconds, *clocks)
        keyring.forget()  # the time of tables, which is shorter, is over, too

    return move


@pytest.fixture(autouse=True)
def _service(settings, monkeypatch):
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": entry()}, "KEY_CACHE_SECONDS": 60}
    begin(monkeypatch)
    keyring.evict()


@pytest.fixture
def note(_service):
    found = Note.objects.create(text=VALUE, data=None)
    Service.asked.clear()
    return found


def read(note):
    return Note.objects.get(pk=note.pk).text


def write(note):
    Note.objects.create(text="written", data=None)


class TestAge:
    @pytest.mark.parametrize("clocks", [(), ("monotonic",), ("boot",), ("wall",)])
    def test_by_the_clock_that_says_most(self, note, clock, clocks):
        clock(MAX_AGE - 1, *clocks)
        assert read(note) == VALUE
        clock(1, *clocks)
        assert read(note) == VALUE
        assert asked() >= 1

    def test_what_is_known_ends_while_the_machine_sleeps(self, note, monkeypatch):
        """What was derived, too: others may have shredded the key meanwhile."""
        moved = Clock(monkeypatch)
        read(note)
        known, derived = cache.known.table, DerivedKeys()
        moved.move(29, "boot")
        read(note)
        assert (cache.known.table is known, derived.is_over()) == (True, False)
        moved.move(31, "boot")
        read(note)
        assert (cache.known.table is known, derived.is_over()) == (False, True)
        assert not known.unwrapping

    def test_a_clock_that_goes_back_makes_nothing_younger(self, note, clock):
        clock(-10 * MAX_AGE, "wall")
        clock(MAX_AGE, "monotonic")
        assert read(note) == VALUE
        assert asked() == 1

    def test_use_does_not_extend_it(self, note, clock):
        for _ in range(9):
            assert read(note) == VALUE
            clock(MAX_AGE / 16)
        assert asked() == 1, "by loading, at half of its age"

    def test_writing_asks_at_its_age(self, note, clock):
        clock(MAX_AGE - 1)
        Note.objects.create(text="written", data=None)
        assert asked() == 0
        clock(1)
        Note.objects.create(text="written", data=None)
        assert asked() == 1

    @pytest.mark.parametrize(("share", "use"), [(0.5, read), (1, write)])
    def test_processes_that_began_together_do_not_ask_together(
        self, note, clock, monkeypatch, share, use
    ):
        """Each at a moment of its own in the tenth before: here, at the first and at the last."""
        monkeypatch.setattr(age, "EARLY_SHARE", 0.1)
        for early, seconds in ((0, 0.9 * share * MAX_AGE), (1, share * MAX_AGE)):
            monkeypatch.setattr(random, "uniform", lambda *limits, early=early: limits[early])
            keyring.evict()
            use(note)
            asked()
            clock(seconds - 1)
            use(note)
            assert asked() == 0
            clock(2)
            use(note)
            assert asked() == 1

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_nor_do_those_that_were_forked_from_one(self, note, monkeypatch):
        monkeypatch.setattr(age, "EARLY_SHARE", 0.1)
        keyring.evict()
        read(note)
        [material] = materials._plaintext.values()
        shares = {material._due_share}
        for _ in range(2):
            reading, writing = os.pipe()
            pid = os.fork()
            if not pid:
                os.write(writing, repr(material._due_share).encode())
                os._exit(0)
            os.waitpid(pid, 0)
            shares.add(float(os.read(reading, 40)))
        assert len(shares) == 3
        assert all(0.9 <= share <= 1 for share in shares)

    def test_it_is_set_for_each_root_key(self, note, clock, settings):
        settings.ENVELOPE_FIELDS = {
            "ROOT_KEYS": {"default": entry(MATERIAL_MAX_AGE_SECONDS=120)},
            "MATERIAL_MAX_AGE_SECONDS": 10,
        }
        assert configuration().lifetimes["default"].max_age == 120
        read(note)
        asked()
        clock(59)
        read(note)
        assert asked() == 0
        clock(61)
        read(note)
        assert asked() == 1

    def test_what_is_derived_does_not_outlive_it(self, settings):
        settings.ENVELOPE_FIELDS = {
            "ROOT_KEYS": {"default": entry()},
            "KEY_CACHE_SECONDS": 3000,
            "MATERIAL_MAX_AGE_SECONDS": 20,
        }
        before = table.uptime()
        made = table.table_now()
        assert before + 20 <= made.deadline <= table.uptime() + 20

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_fork_inherits_it(self, note, clock):
        read(note)
        clock(MAX_AGE - 1)
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            [material] = [m for m in materials._plaintext.values() if m.root_key == "default"][:1]
            os.write(writing, str(round(material.asked_at.age())).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        assert int(os.read(reading, 20)) in (MAX_AGE - 1, MAX_AGE)


class TestAnswers:
    """What the root key answers at the greatest age."""

    @pytest.mark.parametrize(
        "error",
        [
            RootKeyUnavailable("away"),
            WrappedKeyAltered("not mine"),
            ValueError("the variable is gone"),
            KeyError("a client library's mistake"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_it_is_used_for_the_time_of_grace(self, note, clock, caplog, monkeypatch, error):
        monkeypatch.setattr(Service, "error", error)
        clock(MAX_AGE)
        assert read(note) == VALUE
        assert "is used although it is 3600 s old" in caplog.text
        assert "client library's mistake" not in caplog.text, "it may say anything"
        clock(GRACE - 1)
        assert read(note) == VALUE
        clock(1)
        with pytest.raises((EnvelopeError, ImproperlyConfigured, KeyError)):
            read(note)
        assert not materials._plaintext
        monkeypatch.setattr(Service, "error", None)
        clock(age.LONGEST_PAUSE_SECONDS)
        assert read(note) == VALUE, "it heals by itself"

    def test_what_nobody_uses_is_wiped_when_its_time_is_over(self, note, clock):
        row = rows.current_version("default")
        materials.opened(row)
        material = materials._plaintext[row.context]
        clock(MAX_AGE + GRACE)
        assert any(material)
        table.table_now()
        assert not any(material)
        assert row.context not in materials._plaintext

    def test_it_is_asked_again_after_a_pause(self, note, clock, monkeypatch):
        monkeypatch.setattr(Service, "error", RootKeyUnavailable("away"))
        clock(MAX_AGE)
        for _ in range(20):
            read(note)
        assert asked() == 1
        clock(age.FIRST_PAUSE_SECONDS)
        for _ in range(20):
            read(note)
        assert asked() == 1
        monkeypatch.setattr(Service, "error", None)
        clock(age.LONGEST_PAUSE_SECONDS)
        for _ in range(20):
            read(note)
        assert asked() == 1

    def test_refused_it_is_dropped(self, note, clock, monkeypatch):
        Service.refreshed = 0
        loaded = Note.objects.get(pk=note.pk)
        monkeypatch.setattr(Service, "error", RootKeyRefused("the right was taken away"))
        clock(MAX_AGE)
        with pytest.raises(RootKeyRefused):
            read(note)
        assert Service.refreshed == 1, "it was asked again with new credentials"
        assert not materials._plaintext
        with pytest.raises(RootKeyRefused):
            loaded.text  # noqa: B018
        with pytest.raises(RootKeyRefused), transaction.atomic():
            Note.objects.create(text="x", data=None)
        monkeypatch.setattr(Service, "error", None)
        clock(age.FIRST_PAUSE_SECONDS)
        assert read(note) == VALUE
        assert loaded.text == VALUE

    def test_new_credentials_may_do(self, note, clock, monkeypatch):
        def refresh(self):
            Service.error = None

        monkeypatch.setattr(Service, "error", RootKeyRefused("an old session"))
        monkeypatch.setattr(Service, "refresh", refresh)
        clock(MAX_AGE)
        assert read(note) == VALUE

    @pytest.mark.django_db(transaction=True)
    def test_the_others_under_it_are_asked_for_within_a_minute(self, note, clock, monkeypatch):
        versions = [rows.current_version(create_master_key(f"key-{n}").alias) for n in range(20)]
        for row in versions:
            materials.opened(row)
        read(note)
        monkeypatch.setattr(random, "uniform", lambda low, high: high)
        clock(MAX_AGE - 100)
        for row in versions:
            materials._plaintext[row.context].asked_at = age.moment()
        clock(100)
        asked()
        monkeypatch.setattr(Service, "error", RootKeyRefused("no"))
        with pytest.raises(RootKeyRefused):
            read(note)
        assert asked() == 2, "by loading, and with new credentials"
        for row in versions:
            materials.opened(row)
        assert asked() == 0, "not all at once"
        clock(age.ASKED_WITHIN_SECONDS)
        for row in versions:
            with pytest.raises(RootKeyRefused):
                materials.opened(row)
        assert not any(row.context in materials._plaintext for row in versions)

    def test_a_row_that_wraps_other_material_is_not_taken_for_it(self, note, clock):
        """Who may write the database has planted what the root key opens."""
        version = find_master_key("default").current_version
        root = LocalRootKey(key=ROOT_KEY)
        context = rows.with_version_id(bytes(version.version_id)).context
        read(note)
        planted = root.wrap(bytearray(32 * b"p"), context).material
        MasterKeyVersion.objects.filter(pk=version.pk).update(wrapped_material=planted)
        clock(MAX_AGE)
        assert read(note) == VALUE
        clock(GRACE)
        with pytest.raises(DecryptionFailed):
            read(note)

    def test_a_version_that_moved_to_another_root_key(self, note, clock, settings, monkeypatch):
        settings.ENVELOPE_FIELDS = {
            "ROOT_KEYS": {
                "default": entry(),
                "new": {
                    "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
                    "OPTIONS": {"key": ROOT_KEY},
                },
            }
        }
        read(note)
        version = find_master_key("default").current_version
        row = rows.with_version_id(bytes(version.version_id))
        [wrap] = keyring.rewrapped(row, [], ["new"], lambda wrap: True)
        MasterKeyVersion.objects.filter(pk=version.pk).update(**wrap._asdict())
        monkeypatch.setattr(Service, "error", RootKeyRefused("it is gone"))
        clock(MAX_AGE)
        assert read(note) == VALUE


def open_and_close(row):
    materials.opened(row)
    connections.close_all()


class TestMeanwhile:
    @pytest.mark.django_db(transaction=True)
    def test_others_go_on(self, clock, monkeypatch):
        note = Note.objects.create(text=VALUE, data=None)
        row = rows.current_version("default")
        asked()
        clock(MAX_AGE)
        monkeypatch.setattr(Service, "gate", Event())
        thread = Thread(target=open_and_close, args=[row])
        thread.start()
        until(lambda: Service.asked)
        assert read(note) == VALUE
        assert len(Service.asked) == 1
        Service.gate.set()
        thread.join()
        assert read(note) == VALUE
        assert asked() == 1

    def test_an_event_loop_goes_on_and_asks_nothing(self, clock):
        row = rows.current_version("default")
        materials.opened(row)
        asked()
        clock(MAX_AGE)

        async def use():
            return materials.used(row, len)

        assert asyncio.run(use()) == 32
        assert asked() == 0
        assert materials.used(row, len) == 32
        assert asked() == 1

    def test_an_event_loop_without_material_asks_nothing(self, monkeypatch):
        row = rows.current_version("default")
        keyring.evict()
        asked()

        async def use():
            return materials.used(row, len)

        with pytest.raises(OpeningNeedsThread, match="do it in a thread"):
            asyncio.run(use())
        assert asked() == 0
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        assert in_event_loop(use()) == 32

    @pytest.mark.django_db(transaction=True)
    def test_no_transaction_asks_for_the_key_of_the_trail(self, clock, monkeypatch):
        """Not at its greatest age either: an operation asks before its transaction begins."""
        update_master_key("default", description="recorded")
        clock(MAX_AGE)
        within = []
        unwrap = Service.unwrap

        def noting(self, wrapped, context):
            within.append(connection.in_atomic_block)
            return unwrap(self, wrapped, context)

        monkeypatch.setattr(Service, "unwrap", noting)
        update_master_key("default", description="recorded again")
        assert within == [False]

    def test_one_without_material_fails_at_once_until_a_pause_is_over(self, clock, monkeypatch):
        row = rows.current_version("default")
        keyring.evict()
        asked()
        monkeypatch.setattr(Service, "error", RootKeyUnavailable("away"))
        for _ in range(10):
            with pytest.raises(RootKeyUnavailable, match="away"):
                materials.opened(row)
        assert asked() == 1
        clock(age.FIRST_PAUSE_SECONDS)
        for _ in range(10):
            with pytest.raises(RootKeyUnavailable, match="away"):
                materials.opened(row)
        assert asked() == 1
        monkeypatch.setattr(Service, "error", None)
        clock(age.LONGEST_PAUSE_SECONDS)
        materials.opened(row)

    def test_those_who_wait_have_a_time_of_their_own(self, monkeypatch):
        row = rows.current_version("default")
        keyring.evict()
        monkeypatch.setattr("envelope_fields.keyring.opening.WAIT_SECONDS", 0.01)
        monkeypatch.setattr(Service, "gate", Event())
        thread = Thread(target=open_and_close, args=[row])
        thread.start()
        until(lambda: Service.asked)
        with pytest.raises(RootKeyUnavailable, match="Another thread"):
            materials.opened(row)
        Service.gate.set()
        thread.join()
        materials.opened(row)

    def test_a_database_that_does_not_answer(self, note, clock, monkeypatch):
        row = rows.current_version("default")
        materials.opened(row)
        clock(MAX_AGE)

        def read_again(row):
            raise MasterKeyUnusable("the database is away")

        monkeypatch.setattr(rows, "read_again", read_again)
        assert materials.used(row, len) == 32

    def test_a_version_that_was_destroyed(self, clock):
        row = rows.current_version("default")
        materials.opened(row)
        clock(MAX_AGE)
        MasterKeyVersion.objects.filter(version_id=row.state.version_id).update(state="destroyed")
        with pytest.raises(EnvelopeError):
            materials.opened(row)
        assert row.context not in materials._plaintext


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MATERIAL_MAX_AGE_SECONDS", -1),
        ("MATERIAL_MAX_AGE_SECONDS", True),
        ("GRACE_SECONDS", "86400"),
        ("GRACE_SECONDS", float("nan")),
        ("GRACE_SECONDS", 10**12),
    ],
)
@pytest.mark.parametrize("of_entry", [False, True])
def test_settings_that_cannot_be_meant(settings, name, value, of_entry):
    settings.ENVELOPE_FIELDS = {
        "ROOT_KEYS": {"default": entry(**({name: value} if of_entry else {}))},
        **({} if of_entry else {name: value}),
    }
    with pytest.raises(ImproperlyConfigured, match=name):
        configuration()
