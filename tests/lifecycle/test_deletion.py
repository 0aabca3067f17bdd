"""Scheduled deletion: what stops it, what it does at once, and at its end."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from envelope_fields import kms
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle import (
    BadWaitingPeriod,
    ConfirmationRequired,
    KeyInUse,
    cancel_deletion,
    create_master_key,
    destroy_due_keys,
    enable,
    rotate_master_key,
    schedule_deletion,
)
from envelope_fields.models import AuditEvent, KeyUse, MasterKey
from tests.lifecycle import at, events, key_in
from tests.models import Note, TenantNote
from tests.stored import stored

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.mark.parametrize("days", [-1, 0, 6, 31, 7.5, "7", None, True])
def test_other_waiting_periods_are_refused(days):
    key = key_in("enabled")
    with pytest.raises(BadWaitingPeriod, match="7 to 30"):
        schedule_deletion(key, days)
    key.refresh_from_db()
    assert key.state == "enabled"


@pytest.mark.parametrize("days", [7, 30])
def test_the_waiting_period(days):
    key = key_in("enabled")
    before = timezone.now()
    due = schedule_deletion(key, days)
    assert before <= due - timedelta(days=days) <= timezone.now()


class TestValuesUnderIt:
    def test_they_are_named_and_counted(self):
        key = key_in("enabled")
        note = TenantNote.objects.create(tenant="tenant", text="a", data={"b": 1})
        with pytest.raises(KeyInUse) as caught:
            schedule_deletion(key)
        assert "tests.TenantNote.text in the database 'default' (1)" in str(caught.value)
        assert "tests.TenantNote.data" in str(caught.value)
        key.refresh_from_db()
        assert (key.state, key.deletion_at) == ("enabled", None)
        note.refresh_from_db()
        assert note.text == "a"
        assert events(key) == ["create_key"]

    def test_in_another_database(self):
        key = key_in("enabled")
        TenantNote.objects.using("other").create(tenant="tenant", text="a")
        with pytest.raises(KeyInUse, match="'other'"):
            schedule_deletion(key)

    def test_those_of_other_keys_do_not_count(self):
        key = key_in("enabled")
        Note.objects.create(text="a")
        schedule_deletion(key)
        assert Note.objects.get().text == "a"

    def test_an_older_version_without_values(self):
        key = key_in("enabled")
        note = TenantNote.objects.create(tenant="tenant", text="a")
        rotate_master_key(key)
        old = key.versions.get(number=1)
        with pytest.raises(KeyInUse):
            schedule_deletion(old)
        note.save()  # written again, under the current version
        schedule_deletion(old)
        note.refresh_from_db()
        assert note.text == "a"


class TestMeanwhile:
    def test_it_is_unusable_at_once(self):
        key = key_in("enabled")
        schedule_deletion(key)
        with pytest.raises(MasterKeyUnusable, match="pending deletion"), transaction.atomic():
            TenantNote.objects.create(tenant="tenant", text="a")
        assert TenantNote.objects.count() == 0

    def test_cancelling_leaves_it_disabled(self):
        key = key_in("pending_deletion")
        cancel_deletion(key)
        key.refresh_from_db()
        assert (key.state, key.deletion_at) == ("disabled", None)
        with pytest.raises(MasterKeyUnusable), transaction.atomic():
            TenantNote.objects.create(tenant="tenant", text="a")
        enable(key)
        TenantNote.objects.create(tenant="tenant", text="a")
        assert TenantNote.objects.get().text == "a"

    def test_another_date_needs_cancelling(self):
        key = key_in("enabled")
        due = schedule_deletion(key, 7)
        with pytest.raises(MasterKeyUnusable, match="Cancel it"):
            schedule_deletion(key, 8)
        assert schedule_deletion(key, 7) == due


class TestAtItsEnd:
    def test_a_tombstone_is_left(self, monkeypatch):
        key = key_in("enabled")
        rotate_master_key(key)
        schedule_deletion(key, 7)
        now = at(monkeypatch, days=7)
        done = destroy_due_keys()
        assert ([row.pk for row in done.destroyed], done.refused) == ([key.pk], [])
        key.refresh_from_db()
        assert (key.state, key.alias, key.destroyed_at) == ("destroyed", None, now)
        assert [
            (bytes(version.wrapped_material), version.state) for version in key.versions.all()
        ] == [(b"", "destroyed")] * 2
        assert events(key)[-1] == "destroy"
        assert create_master_key("tenant").pk != key.pk  # its alias is free

    def test_not_a_moment_before(self, monkeypatch):
        key = key_in("enabled")
        schedule_deletion(key, 7)
        at(monkeypatch, days=6, hours=23)
        assert destroy_due_keys().destroyed == []
        key.refresh_from_db()
        assert key.state == "pending_deletion"

    def test_a_version_alone(self, monkeypatch):
        key = key_in("enabled")
        rotate_master_key(key)
        schedule_deletion(key.versions.get(number=1), 7)
        at(monkeypatch, days=8)
        destroy_due_keys()
        assert [version.state for version in key.versions.order_by("number")] == [
            "destroyed",
            "enabled",
        ]
        key.refresh_from_db()
        assert (key.state, key.alias) == ("enabled", "tenant")
        TenantNote.objects.create(tenant="tenant", text="a")
        assert TenantNote.objects.get().text == "a"

    def test_a_value_that_came_meanwhile_stops_it(self, monkeypatch):
        """Such as one from a process that had not heard, or from a restored table."""
        key = key_in("enabled")
        note = TenantNote.objects.create(tenant="tenant", text="a")
        envelope = stored(note, "text")
        note.delete()
        schedule_deletion(key, 7)
        write(envelope)
        at(monkeypatch, days=8)
        done = destroy_due_keys()
        assert done.destroyed == []
        assert "tests.TenantNote.text" in str(done.refused[0])
        cancel_deletion(key)
        enable(key)
        assert TenantNote.objects.get().text == "a"

    def test_one_that_fails_keeps_none_from_it(self, monkeypatch):
        stays, goes = key_in("enabled", "a"), key_in("enabled", "b")
        note = TenantNote.objects.create(tenant="a", text="a")
        envelope = stored(note, "text")
        note.delete()
        schedule_deletion(stays, 7)
        schedule_deletion(goes, 7)
        write(envelope)
        at(monkeypatch, days=8)
        done = destroy_due_keys()
        assert [row.pk for row in done.destroyed] == [goes.pk]
        assert [each.row.pk for each in done.refused] == [stays.pk]


class TestWhatKmsGaveOut:
    def test_it_has_to_be_confirmed_by_name(self):
        key = key_in("enabled")
        kms.encrypt("tenant", b"a", {})
        with pytest.raises(ConfirmationRequired) as caught:
            schedule_deletion(key)
        today = timezone.now().date()
        assert f"{today:%Y-%m-%d}" in str(caught.value)
        assert caught.value.expected == "tenant"
        key.refresh_from_db()
        assert key.state == "enabled"
        with pytest.raises(ConfirmationRequired):
            schedule_deletion(key, confirm="default")
        schedule_deletion(key, confirm="tenant")
        key.refresh_from_db()
        assert key.state == "pending_deletion"

    def test_what_another_process_had_not_told_of_yet(self, monkeypatch):
        """It writes the uses that it has counted about a minute later."""
        key = key_in("enabled")
        schedule_deletion(key, 7)
        told_late(key)
        at(monkeypatch, days=8)
        done = destroy_due_keys()
        assert done.destroyed == []
        assert isinstance(done.refused[0].error, ConfirmationRequired)
        assert "not known yet when its deletion was scheduled" in str(done.refused[0])
        cancel_deletion(key)
        schedule_deletion(key, 7, confirm="tenant")
        at(monkeypatch, days=8)
        assert [row.pk for row in destroy_due_keys().destroyed] == [key.pk]

    def test_of_one_version(self, monkeypatch):
        """What was confirmed for the key says nothing of its version, nor the other way round."""
        key = key_in("enabled")
        rotate_master_key(key)
        version = key.versions.get(number=1)
        schedule_deletion(version, 7)
        told_late(key)
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == []
        cancel_deletion(version)
        schedule_deletion(version, 7, confirm="tenant")
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == [version]
        schedule_deletion(key, 7, confirm="tenant")
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == [key]

    def test_fields_need_no_name(self):
        key = key_in("enabled")
        TenantNote.objects.create(tenant="tenant", text="a").delete()
        schedule_deletion(key)


def test_the_trail_says_it(django_user_model):
    key = key_in("enabled")
    schedule_deletion(key, 7)
    event = AuditEvent.objects.filter(key_id=key.pk).latest("number")
    assert (event.action, event.actor_type) == ("schedule_deletion", "application")
    assert event.before["state"] == "enabled"
    assert event.after["state"] == "pending_deletion"
    assert MasterKey.objects.get(pk=key.pk).deletion_at.isoformat()[:19] in str(event.after)


def told_late(key):
    """Store a use by kms, as a process does that had not heard of the deletion."""
    version = key.versions.get(number=1)
    KeyUse.objects.create(
        version=version, day=timezone.now().date(), action="encrypt", door="kms", uses=1
    )


def write(envelope):
    """Store an envelope past all rules, as another process or a restored table does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tests_tenantnote (tenant, text) VALUES ('x', %s)",
            [envelope],
        )
