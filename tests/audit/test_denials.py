"""Denied attempts: in the log at once, and in the trail whatever is rolled back."""

import logging

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.signals import request_finished
from django.db import connection, transaction

from envelope_fields import audit
from envelope_fields.audit import denials
from envelope_fields.databases import database
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import AuditEvent, MasterKey
from envelope_fields.policy import acting_as
from envelope_fields.policy.requests import Origin, coming_from, handled
from tests.at_once import Transaction
from tests.models import LabNote

pytestmark = pytest.mark.django_db(transaction=True)

LOCK_TIMEOUTS = {  # the query for it, and what sets it
    "postgresql": ("SHOW lock_timeout", "SET lock_timeout = '7s'"),
    "mysql": (
        "SELECT @@SESSION.innodb_lock_wait_timeout",
        "SET SESSION innodb_lock_wait_timeout = 7",
    ),
}


@pytest.fixture
def key():
    return create_master_key("lab")


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("mallory")


@pytest.fixture
def waits(monkeypatch):
    """The databases in which something is written that may have to wait for a lock, once each."""
    begun, waiting = [], denials.transactions.waiting_briefly

    def noted(using):
        begun.append(using)
        return waiting(using)

    monkeypatch.setattr(denials.transactions, "waiting_briefly", noted)
    return begun


def events():
    return list(AuditEvent.objects.filter(outcome="denied").order_by("number"))


def refused(user, act=rotate_master_key, key="lab"):
    with pytest.raises(KeyAccessDenied):
        act(key, actor=user)


def test_a_management_act(key, user):
    with coming_from(Origin("192.0.2.1", "r-1")):
        refused(user)
    (event,) = events()
    assert (event.action, event.key_id, event.key_alias) == ("rotate", key.pk, "lab")
    assert (event.actor_id, event.actor_name) == (str(user.pk), "mallory")
    assert (event.address, event.request_id) == ("192.0.2.1", "r-1")
    assert audit.verify().intact
    assert key.versions.count() == 1


def test_a_value(key, user):
    LabNote.objects.create(text="a")
    with acting_as(user), pytest.raises(KeyAccessDenied):
        _ = LabNote.objects.get().text
    (event,) = events()
    assert (event.action, event.after) == ("decrypt", {"field": "tests.labnote.text"})


def test_in_a_transaction_that_is_rolled_back(key, user):
    with transaction.atomic():
        refused(user)
        if connection.vendor != "sqlite":  # which has one connection that writes at a time
            assert len(events()) == 1
        transaction.set_rollback(True)
    request_finished.send(None)
    assert len(events()) == 1


def test_in_one_that_has_changed_the_trail(key, user, waits):
    """It holds the lock on the head; nobody waits for what cannot come."""
    with transaction.atomic():
        rotate_master_key(key)
        for address in range(3):
            with coming_from(Origin(f"192.0.2.{address}", "r")):
                refused(user)
        assert waits == []
        transaction.set_rollback(True)
    request_finished.send(None)
    assert [event.address for event in events()] == ["192.0.2.0", "192.0.2.1", "192.0.2.2"]
    assert audit.verify().intact


def test_while_another_transaction_has_changed_the_trail(key, user, waits, monkeypatch):
    """However long it stays open; what came after the first of them waits for nothing."""
    if connection.vendor == "sqlite":
        pytest.skip("it has a time-out of its own, for every statement")
    monkeypatch.setattr(denials.transactions, "LOCK_SECONDS", 1)
    ask, limit = LOCK_TIMEOUTS[connection.vendor]
    database("default").execute(limit)  # the project's own
    before = database("default").fetch(ask)
    with Transaction(lambda: rotate_master_key(create_master_key("another"))):
        for address in range(3):
            with coming_from(Origin(f"192.0.2.{address}", "r")):
                refused(user)
        assert events() == []
        assert database("default").fetch(ask) == before
        request_finished.send(None)
        assert waits == ["default"]
    connection.close()
    monkeypatch.setattr(denials.buffer, "held_until", 0)
    request_finished.send(None)
    assert [event.address for event in events()] == ["192.0.2.0", "192.0.2.1", "192.0.2.2"]
    assert audit.verify().intact


def test_many_values_are_one_event(key, user, caplog):
    LabNote.objects.bulk_create(LabNote(text="a") for _ in range(50))
    caplog.set_level(logging.WARNING, "envelope_fields.audit")
    with acting_as(user):
        for note in LabNote.objects.defer("text"):
            with pytest.raises(KeyAccessDenied):
                _ = note.text
    assert len(events()) == 1
    assert len([line for line in caplog.records if line.getMessage().startswith("denied")]) == 1


def test_the_next_says_how_often(key, user, monkeypatch):
    for _ in range(5):
        refused(user)
    later = denials.monotonic() + 61
    monkeypatch.setattr(denials, "monotonic", lambda: later)
    refused(user)
    assert [event.after for event in events()] == [{}, {"repeated_before": 4}]


def test_nobody_tries_it_again(key, user, monkeypatch):
    """What was repeated is told when its time is over, by whatever comes next."""
    for number in range(3):
        with coming_from(Origin("192.0.2.1", f"r-{number}")):
            refused(user)
    later = denials.monotonic() + 61
    monkeypatch.setattr(denials, "monotonic", lambda: later)
    request_finished.send(None)
    first, last = events()
    assert (first.request_id, first.after) == ("r-0", {})
    assert (last.request_id, last.after) == ("r-2", {"repeated_before": 1})
    request_finished.send(None)
    assert len(events()) == 2


def test_the_process_ends(key, user):
    for _ in range(2):
        refused(user)
    assert len(events()) == 1
    denials.buffer.at_end()
    assert len(events()) == 2


def test_from_another_address(key, user):
    for address in ("192.0.2.1", "192.0.2.2"):
        with coming_from(Origin(address, "r")):
            refused(user)
    assert [event.address for event in events()] == ["192.0.2.1", "192.0.2.2"]


def test_more_than_are_remembered(key, user, monkeypatch):
    monkeypatch.setattr(denials, "REMEMBERED", 2)
    for number in (1, 1, 2, 3):
        with coming_from(Origin(f"192.0.2.{number}", "r")):
            refused(user)
    assert [event.address[-1] for event in events()] == ["1", "2", "3", "1"]


def test_each_management_act_is_a_line_of_the_log(key, user, caplog):
    caplog.set_level(logging.WARNING, "envelope_fields.audit")
    for _ in range(3):
        refused(user)
    assert len([line for line in caplog.records if line.getMessage().startswith("denied")]) == 3


@pytest.mark.parametrize("actor", ["anonymous", "inactive", "gone", "unbound"])
def test_a_key_that_is_not_made(user, actor):
    if actor == "inactive":
        user.is_active = False
        user.save()
    elif actor == "gone":
        type(user).objects.get(pk=user.pk).delete()
    actors = {"anonymous": AnonymousUser(), "unbound": None}
    with handled(), pytest.raises(KeyAccessDenied):
        create_master_key("new", actor=actors.get(actor, user))
    assert not MasterKey.objects.filter(alias="new").exists()
    (event,) = events()
    assert (event.action, event.key_id, event.key_alias) == ("create_key", None, "new")
    assert event.actor_type == (actor if actor in actors else "auth.user")


def test_the_log_has_it_at_once(key, user, caplog):
    caplog.set_level(logging.WARNING, "envelope_fields.audit")
    with transaction.atomic():
        refused(user)
        line = caplog.records[0]
        transaction.set_rollback(True)
    assert "mallory" in line.getMessage()
    assert (line.audit_outcome, line.audit_action) == ("denied", "rotate")


def test_what_cannot_be_stored_waits(key, user, monkeypatch):
    from django.db import DatabaseError

    append = denials.trail.append_all

    def fail(*_):
        raise DatabaseError("no")

    monkeypatch.setattr(denials.trail, "append_all", fail)
    refused(user)
    assert events() == []
    monkeypatch.setattr(denials.trail, "append_all", append)
    request_finished.send(None)
    assert len(events()) == 1


@pytest.mark.django_db
def test_in_a_test_case(key, user):
    refused(user)
    assert len(events()) == 1
