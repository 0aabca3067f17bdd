"""Reads of what another package has stored are counted, and in the trail once a day and field."""

from datetime import timedelta
from threading import Timer

import pytest
from django.apps import apps
from django.db import DatabaseError, connection
from django.utils import timezone

from envelope_fields.audit import legacy_reads, verify
from envelope_fields.fields import open_values
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent, LegacyRead
from envelope_fields.rotation.verification import verify as verify_values
from tests.at_once import Transaction
from tests.fields.legacy import written
from tests.models import Letter
from tests.stored import store

pytestmark = pytest.mark.django_db(databases="__all__")

FIELD = "tests.letter.text"


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    monkeypatch.setattr(legacy_reads.buffer, "may_write", lambda using: True)
    for raw in (written.fernet("a"), written.fernet(written.fernet("b"))):
        store(Letter.objects.create(), "text", raw)


def read():
    open_values(Letter.objects.all(), "text")


def counted():
    rows = LegacyRead.objects.order_by("day", "package")
    return list(rows.values_list("field", "package", "reads", "several_layers"))


def in_trail():
    return list(AuditEvent.objects.filter(action=legacy_reads.ACTION).order_by("number"))


def test_reads_are_counted_and_recorded_once_a_day():
    for _ in range(3):
        read()
        legacy_reads.buffer.write_now()
    assert counted() == [(FIELD, "django-fernet-fields", 6, 3)]
    (event,) = in_trail()
    assert event.after == {
        "field": FIELD, "package": "django-fernet-fields", "day": str(timezone.now().date()),
    }  # fmt: skip
    assert (event.before, event.actor_type) == ({}, "application")
    assert verify().intact


def test_apps_that_are_made_ready_again():
    """As by `override_settings(INSTALLED_APPS=…)`."""
    apps.get_app_config("envelope_fields").ready()
    read()
    legacy_reads.buffer.write_now()
    assert counted() == [(FIELD, "django-fernet-fields", 2, 1)]


def test_next_day_says_how_many_there_were_before():
    yesterday = timezone.now().date() - timedelta(days=1)
    LegacyRead.objects.create(field=FIELD, day=yesterday, package="django-fernet-fields", reads=7)
    read()
    legacy_reads.buffer.write_now()
    (event,) = in_trail()
    assert event.before == {"day": str(yesterday), "reads": 7}


def test_what_could_not_be_written_is_kept(monkeypatch):
    read()
    original = legacy_reads._write

    def fail(*_):
        raise DatabaseError

    monkeypatch.setattr(legacy_reads, "_write", fail)
    legacy_reads.buffer.write_now()
    monkeypatch.setattr(legacy_reads, "_write", original)
    assert counted() == []
    legacy_reads.buffer.write_now()
    assert counted() == [(FIELD, "django-fernet-fields", 2, 1)]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="it has a time-out of its own")
@pytest.mark.django_db(databases="__all__", transaction=True)
def test_while_another_transaction_has_changed_the_trail(monkeypatch):
    monkeypatch.setattr(legacy_reads.transactions, "LOCK_SECONDS", 1)
    read()
    with Transaction(lambda: create_master_key("another")) as other:
        ending = Timer(3, other.may_end.set)
        ending.start()
        legacy_reads.buffer.write_now()
        assert not other.may_end.is_set()
        ending.cancel()
    monkeypatch.setattr(legacy_reads.buffer, "held_until", 0)
    legacy_reads.buffer.write_now()
    assert counted() == [(FIELD, "django-fernet-fields", 2, 1)]


def test_looking_at_it_to_verify_is_no_read():
    assert [each.values for each in verify_values([FIELD])] == [2]
    legacy_reads.buffer.write_now()
    assert counted() == []
