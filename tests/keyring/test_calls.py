"""How often root keys are asked, which is what they cost: the numbers of the pages about cost."""

import threading

import pytest

from envelope_fields.conf import Lifetime
from envelope_fields.exceptions import RootKeyUnavailable
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from tests.keyring import calls
from tests.keyring.calls import CountedRootKey, Values
from tests.keyring.clock import Clock
from tests.models import TenantNote
from tests.settings import ROOT_KEY
from tests.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]
MAX_AGE = int(Lifetime().max_age)
VALUES = Values(TenantNote, "text")


@pytest.fixture(autouse=True)
def _counted(settings, monkeypatch):
    entry = {"BACKEND": f"{calls.__name__}.CountedRootKey", "OPTIONS": {"key": ROOT_KEY}}
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": entry}}
    for name in ("error", "answer"):
        monkeypatch.setattr(CountedRootKey, name, vars(CountedRootKey)[name])


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def key():
    key = create_master_key("one")
    VALUES.store(["one"])
    return key


def read():
    VALUES.read("one")


def write():
    VALUES.write("one")


def test_writing_asks_once_for_each_age(key, clock):
    assert calls.over_time(write, clock, 4 * MAX_AGE) == 4


def test_loading_asks_at_half_of_it(key, clock):
    assert calls.over_time(read, clock, 4 * MAX_AGE) == 2 * 4


def test_each_version_in_use_is_asked_for(key, clock):
    rotate_master_key("one")
    VALUES.store(["one"])

    def read_both():
        for note in VALUES.load():
            assert note.text == "x"

    assert calls.over_time(read_both, clock, MAX_AGE) == 2 * 2


def test_a_process_that_begins_asks_for_nothing(key):
    more = [f"tenant-{number}" for number in range(30)]
    for alias in more:
        create_master_key(alias)
    VALUES.store(more)
    assert calls.beginning(VALUES) == [0, 1, 31]


def test_threads_that_need_a_key_at_once_ask_once(key):
    may_answer = threading.Event()
    CountedRootKey.answer = staticmethod(lambda: may_answer.wait(60))
    before = CountedRootKey.opened
    waiting = threading.Thread(
        target=lambda: until(lambda: CountedRootKey.opened > before) or may_answer.set()
    )
    waiting.start()
    assert calls.at_once(read, 32).times == 1
    waiting.join(60)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_each_process_asks_for_itself(key):
    assert calls.in_processes(read, 3) == [1, 1, 1]


def test_a_root_key_that_does_not_answer_is_asked_about_once_a_minute(key, clock):
    CountedRootKey.error = RootKeyUnavailable("away")
    assert 45 <= calls.over_time(read, clock, 3600, every=20) <= 120 + 8
