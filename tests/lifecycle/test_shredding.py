"""Crypto-shredding, and its certificate."""

import time

import pytest
from django.conf import settings
from django.db import transaction
from django.test import override_settings

from envelope_fields import audit
from envelope_fields.exceptions import EnvelopeError, MasterKeyUnusable
from envelope_fields.lifecycle import (
    ConfirmationRequired,
    begin_shredding,
    create_master_key,
    enable,
    finish_shredding,
    move_alias,
    ready_to_shred_at,
    rotate_master_key,
    shred,
    shred_confirmation,
)
from envelope_fields.models import AuditEvent
from tests.lifecycle import at, events, key_in, sleeping
from tests.models import Letter, TenantNote
from tests.stored import store

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def key():
    key = create_master_key("tenant")
    TenantNote.objects.create(tenant="tenant", text="a", data={"b": 1})
    TenantNote.objects.using("other").create(tenant="tenant", text="a")
    return key


def test_the_values_are_gone(key):
    certificate = shred(key)
    assert certificate.total == 3
    assert {tuple(place) for place in certificate.fields} == {
        ("default", "tests.TenantNote", "text", 1),
        ("default", "tests.TenantNote", "data", 1),
        ("other", "tests.TenantNote", "text", 1),
    }
    key.refresh_from_db()
    assert (key.state, key.alias) == ("destroyed", None)
    assert bytes(key.versions.get().wrapped_material) == b""
    for note in TenantNote.objects.all():
        with pytest.raises(EnvelopeError):
            _ = note.text
    assert events(key) == ["create_key", "disable", "shred"]


def test_the_certificate_is_in_the_trail(key):
    certificate = shred(key)
    event = AuditEvent.objects.get(number=certificate.event)
    assert event.action == "shred"
    assert event.after["total"] == 3
    assert "Backups" in event.after["remains"]
    assert certificate.name == "tenant"
    assert "Values made unreadable: 3" in str(certificate)
    assert shred(key) == certificate
    assert audit.verify().intact


def test_certificate_names_what_another_package_has_stored():
    key = create_master_key("lab")
    letter = Letter.objects.create()
    store(letter, "sent_at", b"2020-01-01 00:00:00")
    store(letter, "text", b"a column of another key")
    [named] = shred(key).not_counted
    assert "tests_letter" in named
    assert "1 value in the format of plaintext" in named


def test_one_version_alone(key):
    rotate_master_key(key)
    kept = TenantNote.objects.create(tenant="tenant", text="kept")
    certificate = shred(key.versions.get(number=1))
    assert certificate.total == 3
    assert list(certificate.versions) == ["1"]
    kept.refresh_from_db()
    assert kept.text == "kept"


class TestConfirmation:
    def test_more_values_than_agreed_to(self, key):
        agreed = shred_confirmation(key)
        assert agreed.total == 3
        TenantNote.objects.create(tenant="tenant", text="late")
        with pytest.raises(ConfirmationRequired, match="More values"):
            shred(key, confirm=agreed)
        key.refresh_from_db()
        assert key.state == "disabled"
        enable(key)
        assert TenantNote.objects.filter(text__isnull=False).count() == 2

    def test_fewer_are_agreed_to(self, key):
        agreed = shred_confirmation(key)
        TenantNote.objects.using("other").all().delete()
        assert shred(key, confirm=agreed).total == 2

    def test_another_name(self, key):
        with pytest.raises(ConfirmationRequired, match="'tenant'"):
            shred(key, confirm="default")
        key.refresh_from_db()
        assert key.state == "enabled"

    def test_its_name(self, key):
        assert shred(key, confirm="tenant").total == 3


class TestWaiting:
    @pytest.fixture(autouse=True)
    def a_minute(self, at_once_known):
        with override_settings(
            ENVELOPE_FIELDS={**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 60}
        ):
            yield

    def test_it_waits_until_every_process_knows(self, key, monkeypatch):
        slept = sleeping(monkeypatch)
        shred(key)
        assert len(slept) == 1
        assert 59 < slept[0] <= 60

    def test_what_is_left_of_it(self, key, monkeypatch):
        begin_shredding(key)
        slept = sleeping(monkeypatch)
        at(monkeypatch, seconds=50)
        shred(key)
        assert 8 < slept[0] <= 10

    def test_in_two_steps(self, key, monkeypatch):
        assert ready_to_shred_at(key) is None
        ready = begin_shredding(key)
        assert ready_to_shred_at(key) == ready
        with pytest.raises(MasterKeyUnusable, match="yet"):
            finish_shredding(key)
        at(monkeypatch, seconds=61)
        assert finish_shredding(key).total == 3

    def test_its_alias_is_moved_meanwhile(self, key, monkeypatch):
        """What was named is destroyed, and not what has the name by then."""
        other = key_in("disabled", "other")
        seconds = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 60}

        def move(_):
            move_alias("tenant", other)
            at(monkeypatch, days=1)

        monkeypatch.setattr(time, "sleep", move)
        with override_settings(ENVELOPE_FIELDS=seconds):
            with pytest.raises(ConfirmationRequired):
                shred("tenant", confirm="tenant")
            certificate = shred(key)
        assert certificate.key_id == str(key.pk)
        other.refresh_from_db()
        assert (other.state, other.alias) == ("disabled", "tenant")

    def test_enabled_in_between(self, key, monkeypatch):
        begin_shredding(key)
        enable(key)
        at(monkeypatch, seconds=61)
        with pytest.raises(MasterKeyUnusable, match="enabled"):
            finish_shredding(key)
        assert TenantNote.objects.count() == 1
        assert TenantNote.objects.get().text == "a"


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_not_where_it_could_be_rolled_back():
    key = key_in("enabled")
    with (
        transaction.atomic(),
        pytest.raises(MasterKeyUnusable, match="inside a transaction"),
    ):
        shred(key)
    key.refresh_from_db()
    assert key.state == "enabled"


def test_a_key_that_was_deleted_has_no_certificate(key, monkeypatch):
    from envelope_fields.lifecycle import destroy_due_keys, schedule_deletion

    empty = key_in("enabled", "empty")
    schedule_deletion(empty, 7)
    at(monkeypatch, days=8)
    destroy_due_keys()
    with pytest.raises(MasterKeyUnusable, match="destroyed"):
        shred(empty)
