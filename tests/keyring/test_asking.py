"""Asking root keys: once for each version, while nothing waits but those who need that version."""

import os
import threading

import pytest
from django.db import connections, transaction
from django.views.debug import ExceptionReporter

from envelope_fields import keyring, root_keys
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from envelope_fields.keyring import age, materials, opening, rows, wrapping
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.root_keys import Unwrapped
from envelope_fields.root_keys.local import LocalRootKey
from tests.at_once import at_once
from tests.models import TenantNote
from tests.settings import ROOT_KEY
from tests.waiting import until

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(transaction=True)]


class Gate:
    """What a root key does when it is asked to open one version."""

    def __init__(self, is_open=True):
        self.asked = 0
        self.error = None
        self.meanwhile = lambda: None
        self.may_answer = threading.Event()
        if is_open:
            self.may_answer.set()


class Gated(LocalRootKey):
    """Answers when it is let, and notes how often it was asked."""

    gates = {}  # by version id
    calls = []

    def unwrap(self, wrapped, context):
        gate = self.gates.setdefault(context.version_id, Gate())
        gate.asked += 1
        gate.meanwhile()
        assert gate.may_answer.wait(60)
        if gate.error is not None:
            raise gate.error
        return super().unwrap(wrapped, context)

    def close(self):
        self.calls.append("close")

    def after_fork(self):
        self.calls.append("after_fork")


@pytest.fixture(autouse=True)
def unwrapped(monkeypatch):
    """What the keyring was given, by version id."""
    found, unwrap = {}, opening.opened

    def unwrap_and_note(row):
        material = unwrap(row)
        found.setdefault(row.state.version_id, []).append(material)
        return material

    monkeypatch.setattr(opening, "opened", unwrap_and_note)
    return found


@pytest.fixture(autouse=True)
def _gated(settings):
    entry = {"BACKEND": f"{__name__}.Gated", "OPTIONS": {"key": ROOT_KEY}}
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": entry}}
    Gated.gates.clear()
    Gated.calls.clear()
    yield
    for gate in Gated.gates.values():
        gate.may_answer.set()


@pytest.fixture
def keys():
    return [create_master_key(alias) for alias in ("one", "two")]


def closed(key):
    """Let the root key not answer for the version of a key, until its gate is opened."""
    version_id = bytes(key.current_version.version_id)
    gate = Gated.gates[version_id] = Gate(is_open=False)
    keyring.evict()
    return gate


def write_under(alias):
    return keyring.values.wrapping_key(alias, "default")


class Thread(threading.Thread):
    """A thread with connections of its own, and what came of it."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self.function, self.result = function, None
        self.start()

    def run(self):
        try:
            self.result = self.function()
        except Exception as error:
            self.result = error
        finally:
            connections.close_all()

    def end(self):
        self.join(60)
        assert not self.is_alive()
        return self.result


def waiting_for_an_answer():
    """Count the threads that wait for what another one asks."""
    return sum(len(each._answered._cond._waiters) for each in materials._questions.asked.values())


def test_those_who_need_the_version_wait_for_one_answer(keys):
    gate = closed(keys[0])
    threads = [Thread(lambda: write_under("one")) for _ in range(32)]
    until(lambda: waiting_for_an_answer() == 31)
    assert gate.asked == 1
    gate.may_answer.set()
    made = [thread.end() for thread in threads]
    assert len({key.header for key in made}) == 1
    assert gate.asked == 1
    assert not materials._questions.asked


def test_those_who_need_another_one_do_not(keys):
    gate = closed(keys[0])
    slow = Thread(lambda: write_under("one"))
    until(lambda: gate.asked)
    write_under("two")  # here it would wait for ever
    create_master_key("three")
    assert Thread(lambda: write_under("three")).end().header
    gate.may_answer.set()
    assert slow.end().header


def test_an_error_is_told_to_all_who_wait_and_not_kept(keys, monkeypatch):
    gate = closed(keys[0])
    gate.error = RootKeyUnavailable("the HSM is away")
    threads = [Thread(lambda: write_under("one")) for _ in range(4)]
    until(lambda: waiting_for_an_answer() == 3)
    gate.may_answer.set()
    errors = [thread.end() for thread in threads]
    assert [str(error) for error in errors] == ["the HSM is away"] * 4
    assert {type(error) for error in errors} == {RootKeyUnavailable}
    assert len({id(error) for error in errors}) == 4
    assert gate.asked == 1
    gate.error = None
    later = age.moment().monotonic + age.FIRST_PAUSE_SECONDS
    monkeypatch.setattr(age, "moment", lambda: age.Moment(later, later, later))
    assert write_under("one").header
    assert gate.asked == 2


class Unusual(Exception):
    """An error of a client library, which cannot be copied."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")


def test_an_error_of_a_client_library_is_unavailable_to_all_who_wait(keys):
    gate = closed(keys[0])
    gate.error = Unusual(503, "try again")
    threads = [Thread(lambda: write_under("one")) for _ in range(2)]
    until(lambda: waiting_for_an_answer() == 1)
    gate.may_answer.set()
    errors = [thread.end() for thread in threads]
    assert {type(error) for error in errors} == {RootKeyUnavailable}
    assert all("Unusual" in str(error) for error in errors)
    assert "503" not in str(errors), "it may say anything"


def test_what_is_evicted_before_it_came_is_not_kept(keys, unwrapped):
    gate = closed(keys[0])
    slow = Thread(lambda: write_under("one"))
    until(lambda: gate.asked)
    keyring.evict()
    gate.may_answer.set()
    assert slow.end().header
    assert materials._plaintext == {}
    assert not any(any(material) for found in unwrapped.values() for material in found)
    assert write_under("one").header
    assert gate.asked == 2


def test_who_comes_after_an_eviction_does_not_wait_for_the_answer_before(keys):
    before = closed(keys[0])
    slow = Thread(lambda: write_under("one"))
    until(lambda: before.asked)
    after = closed(keys[0])
    after.may_answer.set()
    assert write_under("one").header
    before.may_answer.set()
    assert slow.end().header
    assert (before.asked, after.asked) == (1, 1)
    assert len(materials._plaintext) == 1


def test_a_root_key_that_needs_what_it_is_asked_for_does_not_wait_for_itself(keys):
    gate = closed(keys[0])
    gate.may_answer.set()

    def need():
        gate.meanwhile = lambda: None
        write_under("one")

    gate.meanwhile = need
    assert write_under("one").header
    assert gate.asked == 2
    assert len(materials._plaintext) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_process_that_is_forked_meanwhile_asks_for_itself(keys):
    row = rows.current_version("one")
    gate = closed(keys[0])
    slow = Thread(lambda: write_under("one"))
    until(lambda: gate.asked)
    reading, writing = os.pipe()
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            Gated.gates.clear()
            materials.opened(row)
            os.write(writing, f"{len(materials._plaintext)} {Gated.calls}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"1 ['after_fork']"
    os.close(reading)
    os.close(writing)
    gate.may_answer.set()
    assert slow.end().header


class TestInATransactionThatMakesKeys:
    def test_it_is_asked_once_for_each(self, unwrapped):
        with transaction.atomic():
            keys = [create_master_key(alias) for alias in ("one", "two")]
            asked = [Gated.gates[bytes(key.current_version.version_id)] for key in keys]
            assert [gate.asked for gate in asked] == [1, 1]  # to see that they open
            for number in range(5):
                for alias in ("one", "two"):
                    note = TenantNote.objects.create(tenant=alias, text=f"{number}")
                    assert TenantNote.objects.get(pk=note.pk).text == f"{number}"
            assert [gate.asked for gate in asked] == [2, 2]
        for key in keys:
            [material] = unwrapped[bytes(key.current_version.version_id)]
            assert not any(material)

    @pytest.mark.parametrize("within", ["transaction", "savepoint"])
    def test_nothing_of_them_stays_when_they_are_rolled_back(self, within, unwrapped):
        create_master_key("before")
        keyring.evict()
        with transaction.atomic():
            if within == "savepoint":
                TenantNote.objects.create(tenant="before", text="a")
            with transaction.atomic():
                key = create_master_key("brief")
                version_id = bytes(key.current_version.version_id)
                TenantNote.objects.create(tenant="brief", text="b")
                assert any(version_id in kept for kept in _with_changes())
                transaction.set_rollback(True)
            assert not any(version_id in kept for kept in _with_changes())
            assert not any(version_id in kept for kept in materials._plaintext)
            assert not any(map(any, unwrapped[version_id]))
            if within == "savepoint":
                rotate_master_key("before")
                TenantNote.objects.create(tenant="before", text="c")

    def test_eviction_reaches_them(self):
        with transaction.atomic():
            key = create_master_key("one")
            gate = Gated.gates[bytes(key.current_version.version_id)]
            TenantNote.objects.create(tenant="one", text="a")
            keyring.evict()
            assert not list(_with_changes())
            TenantNote.objects.create(tenant="one", text="a")
            assert gate.asked == 3

    def test_what_is_committed_is_asked_for_once_as_well(self):
        key = create_master_key("before")
        gate = Gated.gates[bytes(key.current_version.version_id)]
        keyring.evict()
        with transaction.atomic():
            create_master_key("one")
            for text in "abc":
                TenantNote.objects.create(tenant="before", text=text)
            assert gate.asked == 2
            assert not any(bytes(key.current_version.version_id) in kept
                           for kept in materials._plaintext)  # fmt: skip


def _with_changes():
    return (context for store in materials._of_changes.values() for context in store)


class TestBackends:
    def test_one_is_made_for_all_threads(self, keys):
        keyring.evict()
        made = at_once(*[lambda: write_under("one")] * 4)
        assert len({key.header for key in made}) == 1
        assert len(wrapping._made) == 1

    def test_they_are_closed_when_the_settings_change(self, keys, settings):
        Gated.calls.clear()
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS}
        assert Gated.calls == ["close"]
        assert not wrapping._made
        write_under("one")

    def test_one_that_cannot_be_closed_keeps_nothing_from_it(self, keys, settings, monkeypatch):
        monkeypatch.setattr(Gated, "close", lambda self: 1 / 0)
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS}
        assert not wrapping._made

    @pytest.mark.parametrize(
        "answer",
        [b"bytes", root_keys.Wrapped("text"), root_keys.Wrapped(b"w", None),
         root_keys.Wrapped(b"w", "x" * 501)],
    )  # fmt: skip
    def test_what_they_return_is_checked(self, answer, monkeypatch):
        monkeypatch.setattr(Gated, "wrap", lambda *_: answer)
        with pytest.raises(RootKeyRefused, match="must return a Wrapped"):
            create_master_key("never")

    def test_what_they_wrapped_with_is_kept(self, monkeypatch):
        wrap = Gated.wrap
        monkeypatch.setattr(
            Gated, "wrap", lambda *given: wrap(*given)._replace(wrapping_key_id="vault:v7")
        )
        assert create_master_key("one").current_version.wrapping_key_id == "vault:v7"

    def test_what_they_say_when_they_open_replaces_it(self, monkeypatch):
        wrap = Gated.wrap
        monkeypatch.setattr(
            Gated, "wrap", lambda *given: wrap(*given)._replace(wrapping_key_id="kms")
        )
        monkeypatch.setattr(
            Gated, "unwrap_identified", lambda *given: Unwrapped(Gated.unwrap(*given), "kms#1")
        )
        assert create_master_key("one").current_version.wrapping_key_id == "kms#1"

    @pytest.mark.parametrize("answer", [b"k" * 32, bytearray(b"k" * 31), bytearray(b"k" * 33)])
    def test_what_they_open_is_checked_at_each_use(self, keys, answer, monkeypatch):
        keyring.evict()
        monkeypatch.setattr(Gated, "unwrap", lambda *_: answer)
        with pytest.raises(RootKeyRefused, match="must return 32 bytes") as caught:
            write_under("one")
        assert "kkkk" not in shown_of_ours(caught)

    @pytest.mark.parametrize(
        "answer",
        [bytearray(b"k" * 32), Unwrapped(b"k" * 32), Unwrapped(bytearray(b"k" * 31)),
         Unwrapped(bytearray(b"k" * 32), None), Unwrapped(bytearray(b"k" * 32), "x" * 501)],
    )  # fmt: skip
    def test_what_they_open_is_checked(self, answer, monkeypatch):
        monkeypatch.setattr(Gated, "unwrap_identified", lambda *_: answer)
        with pytest.raises(RootKeyRefused, match="must return 32 bytes") as caught:
            create_master_key("never")
        assert "kkkk" not in shown_of_ours(caught)


def shown_of_ours(caught):
    """Return what an error report shows of the variables of frames that are not of tests."""
    report = ExceptionReporter(None, *caught._excinfo)
    ours = [each for each in report.get_traceback_frames() if "/tests/" not in each["filename"]]
    return repr([frame["vars"] for frame in ours])
