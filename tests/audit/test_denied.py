"""Denied attempts: in the log at once, and in the trail whatever is rolled back."""

import logging

import pytest
from django.core.signals import request_finished
from django.db import connection, transaction

from envelope_fields import audit
from envelope_fields.audit import denied
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import AuditEvent
from envelope_fields.policy import acting_as
from envelope_fields.policy.origin import Origin, coming_from
from tests.models import LabNote

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_from_before(monkeypatch):
    denied._waiting.clear()
    monkeypatch.setattr(denied, "_repeats", denied._Repeats())


@pytest.fixture
def key():
    return create_master_key("lab")


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("mallory")


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
        LabNote.objects.get()
    (event,) = events()
    assert (event.action, event.after) == ("decrypt", {"place": "tests.labnote.text"})


def test_in_a_transaction_that_is_rolled_back(key, user):
    with transaction.atomic():
        refused(user)
        if connection.vendor != "sqlite":  # which has one connection that writes at a time
            assert len(events()) == 1
        transaction.set_rollback(True)
    request_finished.send(None)
    assert len(events()) == 1


def test_in_one_that_has_changed_the_trail(key, user):
    """It holds the lock on the head; nobody waits for ever."""
    with transaction.atomic():
        rotate_master_key(key)
        denied.own_connection.LOCK_SECONDS = 1
        refused(user)
    denied.store_waiting()
    assert len(events()) == 1
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
    later = denied.monotonic() + 61
    monkeypatch.setattr(denied, "monotonic", lambda: later)
    refused(user)
    assert [event.after for event in events()] == [{}, {"repeated_before": 4}]


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

    append = denied.trail.append

    def fail(*_):
        raise DatabaseError("no")

    monkeypatch.setattr(denied.trail, "append", fail)
    refused(user)
    assert events() == []
    monkeypatch.setattr(denied.trail, "append", append)
    request_finished.send(None)
    assert len(events()) == 1


@pytest.mark.django_db
def test_in_a_test_case(key, user):
    refused(user)
    assert len(events()) == 1
