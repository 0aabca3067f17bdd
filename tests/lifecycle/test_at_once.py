"""Two operators at once, on connections of their own: one of the serial outcomes, and no other."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections, transaction
from django.db.models import F, QuerySet

from envelope_fields import audit, rotation
from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.grants import grant
from envelope_fields.lifecycle import (
    cancel_deletion,
    create_master_key,
    destroy_due_keys,
    disable,
    enable,
    keys,
    move_alias,
    rotate_due_keys,
    rotate_master_key,
    schedule_deletion,
)
from envelope_fields.lifecycle.index_states import change_index_state
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.models import BlindIndex, MasterKey, MasterKeyVersion
from tests import waiting
from tests.at_once import at_once
from tests.keyring.indexed import LABEL, index
from tests.lifecycle import at, events, key_in

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def errors(outcomes):
    return [outcome for outcome in outcomes if isinstance(outcome, Exception)]


@pytest.fixture
def key():
    return key_in("enabled")


@pytest.fixture(autouse=True)
def the_trail_holds():
    yield
    assert audit.verify().intact


def test_rotations(key):
    outcomes = at_once(*[lambda: rotate_master_key("tenant")] * 4)
    assert errors(outcomes) == []
    assert sorted(key.versions.values_list("number", flat=True)) == [1, 2, 3, 4, 5]
    assert events(key).count("rotate") == 4


@pytest.fixture(params=["repeatable read", "serializable"])
def sees_the_past(request, monkeypatch):
    """Have the connections of other threads see, in a transaction, what was there when it began."""
    if connection.vendor == "sqlite":
        pytest.skip("nothing is written there while another transaction goes on")
    levels = {"repeatable read": 3, "serializable": 4} if connection.vendor == "postgresql" else {}
    level = levels.get(request.param, request.param)
    for each in connections.all():
        options = {**each.settings_dict["OPTIONS"], "isolation_level": level}
        monkeypatch.setitem(each.settings_dict, "OPTIONS", options)


def test_rotations_that_would_see_the_past(key, sees_the_past):
    """Each goes by what the one before has done, and none is said to be in the way of another."""
    outcomes = at_once(*[lambda: rotate_master_key("tenant")] * 4)
    assert errors(outcomes) == []
    assert sorted(key.versions.values_list("number", flat=True)) == [1, 2, 3, 4, 5]


def test_keys_made_by_transactions_that_would_see_the_past(sees_the_past):
    """Each appends to the trail behind the one before."""
    made = at_once(*[partial(create_master_key, f"tenant-{number}") for number in range(3)])
    assert errors(made) == []


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="the others let it write nothing more")
@pytest.mark.parametrize("sees_the_past", ["repeatable read"], indirect=True)
def test_in_a_callers_transaction_that_sees_the_past(key, sees_the_past):
    """Its level is the caller's, and the error says what to do."""
    begun, rotated = Event(), Event()

    def slower():
        with transaction.atomic():
            list(MasterKey.objects.all())
            begun.set()
            assert rotated.wait(60)
            rotate_master_key("tenant")

    def faster():
        assert begun.wait(60)
        try:
            rotate_master_key("tenant")
        finally:
            rotated.set()

    refused, done = at_once(slower, faster)
    assert done is None
    assert isinstance(refused, MasterKeyUnusable)
    assert "Try again in another one." in str(refused)
    assert key.versions.count() == 2


def test_rotate_and_disable(key):
    failed = errors(at_once(lambda: rotate_master_key("tenant"), lambda: disable("tenant")))
    key.refresh_from_db()
    assert key.state == "disabled"
    assert all(isinstance(error, MasterKeyUnusable) for error in failed)
    assert key.versions.count() == 2 - len(failed)


def test_enable_and_disable(key):
    assert errors(at_once(lambda: enable("tenant"), lambda: disable("tenant"))) == []
    key.refresh_from_db()
    told = [event for event in events(key) if event in ("enable", "disable")]
    assert (key.state, told) in [("disabled", ["disable"]), ("enabled", ["disable", "enable"])]


def test_schedule_and_cancel():
    key = key_in("disabled")
    outcomes = at_once(lambda: schedule_deletion("tenant"), lambda: cancel_deletion("tenant"))
    assert errors(outcomes) == []
    key.refresh_from_db()
    assert (key.state == "pending_deletion") == (key.deletion_at is not None)
    assert events(key)[-1] in ("schedule_deletion", "cancel_deletion")
    expected = {"schedule_deletion": "pending_deletion", "cancel_deletion": "disabled"}
    assert key.state == expected[events(key)[-1]]


def test_destroy_and_cancel(key, monkeypatch):
    schedule_deletion(key, 7)
    at(monkeypatch, days=8)
    destroyed, cancelled = at_once(destroy_due_keys, lambda: cancel_deletion(key.pk))
    key.refresh_from_db()
    if key.state == "destroyed":
        assert isinstance(cancelled, MasterKeyUnusable)
        assert bytes(key.versions.get().wrapped_material) == b""
    else:
        assert (key.state, destroyed.destroyed) == ("disabled", [])
        assert bytes(key.versions.get().wrapped_material) != b""


def test_destroying_twice(key, monkeypatch):
    schedule_deletion(key, 7)
    at(monkeypatch, days=8)
    outcomes = at_once(*[destroy_due_keys] * 3)
    assert errors(outcomes) == []
    assert sum(len(outcome.destroyed) for outcome in outcomes) == 1
    assert events(key).count("destroy") == 1


def test_due_rotations_are_made_once(key, monkeypatch):
    MasterKey.objects.filter(pk=key.pk).update(rotation_period=90)
    at(monkeypatch, days=91)
    outcomes = at_once(*[rotate_due_keys] * 3)
    assert errors(outcomes) == []
    assert sum(len(outcome.rotated) for outcome in outcomes) == 1
    assert key.versions.count() == 2


def test_aliases_move_one_after_the_other(key):
    other = create_master_key("other")
    third = create_master_key("third")
    outcomes = at_once(
        lambda: move_alias("tenant", other.pk),
        lambda: move_alias("tenant", third.pk),
        lambda: move_alias("other", key.pk),
    )
    assert all(isinstance(error, EnvelopeError) for error in errors(outcomes))
    aliases = [alias for alias in MasterKey.objects.values_list("alias", flat=True) if alias]
    assert len(aliases) == len(set(aliases))
    assert aliases.count("tenant") == 1


def test_two_that_make_one():
    outcomes = at_once(*[lambda: create_master_key("lab")] * 3)
    assert len(errors(outcomes)) == 2
    assert all("'lab'" in str(error) for error in errors(outcomes))
    made = MasterKey.objects.get(alias="lab")
    assert MasterKeyVersion.objects.filter(master_key=made).count() == 1


# Whose order is another one on MariaDB, which compares their ends first.
IDS = [UUID("00000000-0000-4000-8000-ffffffffffff"), UUID("ffffffff-ffff-4fff-bfff-000000000000")]
_WAITS = {
    "postgresql": "SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted",
    "mysql": (
        "SELECT 1 FROM information_schema.innodb_trx "
        "WHERE trx_mysql_thread_id = %s AND trx_state = 'LOCK WAIT'"
    ),
}


def waits(session):
    """Whether a connection of the server, by its number, waits for a lock."""
    time.sleep(0.2)  # MariaDB answers from a cache what it is asked again within 0.1 seconds
    with connection.cursor() as cursor:
        cursor.execute(_WAITS[connection.vendor], [session])
        return cursor.fetchone() is not None


def number_of_session():
    ask = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}
    with connection.cursor() as cursor:
        cursor.execute(ask[connection.vendor])
        return cursor.fetchone()[0]


@pytest.fixture
def row_locks():
    if not connection.features.has_select_for_update:
        pytest.skip("SQLite has one lock")


@contextmanager
def beside(act, lock):
    """Have another connection act, and wait for what a transaction has locked, which goes on."""
    known, sessions = Event(), []

    def acting():
        sessions.append(number_of_session())
        known.set()
        try:
            return act()
        except EnvelopeError as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            lock()
            acted = thread.submit(acting)
            known.wait()
            waiting.until(lambda: waits(*sessions))
            yield acted
        acted.result()


@pytest.mark.parametrize(
    "act",
    [lambda keys: rotation.start(keys), lambda keys: move_alias(keys[0].alias, keys[1].pk)],
    ids=["run", "alias"],
)
def test_several_keys_are_locked_in_one_order(act, row_locks):
    keys = [MasterKey.objects.create(id=pk, alias=f"key-{pk}") for pk in IDS]
    rows = QuerySet(MasterKey).filter(pk__in=IDS)
    first, last = rows.order_by("pk")
    rows.filter(pk=first.pk).update(state=F("state"))  # PostgreSQL has its row behind the other now
    with beside(lambda: act(keys), lock=lambda: rows.filter(pk=first.pk).update(state=F("state"))):
        assert rows.filter(pk=last.pk).select_for_update(nowait=True).exists()


def test_an_index_is_locked_behind_its_keys(row_locks):
    """As where an index is begun, whose row may be written last."""
    begin_index(index(), "search", "default")
    row = QuerySet(BlindIndex).filter(label=LABEL)
    with beside(
        lambda: change_index_state(LABEL, "verified"),
        lock=lambda: keys.locked_rows("default", alias="search"),
    ):
        assert row.select_for_update(nowait=True).get().state == "reading"
    assert row.get().state == "verified"


def test_an_act_by_an_alias_while_that_is_moved(row_locks, key):
    row = QuerySet(MasterKey).filter(pk=key.pk)
    act = partial(rotate_master_key, "tenant")
    with beside(act, lock=lambda: row.update(state=F("state"))) as acted:
        row.update(alias="moved")
    assert isinstance(acted.result(), MasterKeyNotFound)


def test_an_alias_that_is_given_to_a_key_that_is_made(row_locks, key):
    act = partial(move_alias, "new", key.pk)
    with beside(act, lock=lambda: MasterKey.objects.create(alias="new")):
        audit.trail.hold("default")  # as who makes a key does next
    key.refresh_from_db()
    assert key.alias == "new"


@pytest.mark.parametrize(
    "act",
    [lambda user: rotate_master_key("tenant"), lambda user: grant("tenant", user, "decrypt")],
    ids=["rotate", "grant"],
)
def test_an_act_by_an_alias_that_was_moved_lets_go_of_the_key_that_had_it(
    act, row_locks, key, monkeypatch
):
    """Who moves it back locks the other key first, perhaps, and would wait for it."""
    had_it, found_key, lockable = MasterKey.objects.create(alias="before"), keys.found_key, []

    def lock_what_had_it():
        with transaction.atomic():
            QuerySet(MasterKey).select_for_update(nowait=True).get(pk=had_it.pk)

    def found(using, alias):
        if not lockable:  # it looks just before the alias is moved
            lockable.append(None)
            return had_it
        lockable.extend(at_once(lock_what_had_it))
        return found_key(using, alias)

    user = get_user_model().objects.create(username="user")
    monkeypatch.setattr(keys, "found_key", found)
    act(user)
    assert lockable == [None, None]
