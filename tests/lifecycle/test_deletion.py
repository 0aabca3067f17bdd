"""Scheduled deletion: what stops it, what it does at once, and at its end."""

import json
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.utils import timezone

from envelope_fields import kms
from envelope_fields.audit import uses as key_uses
from envelope_fields.census import NotCounted
from envelope_fields.crypto.format import encode_text
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyUnusable
from envelope_fields.lifecycle import (
    BadWaitingPeriod,
    ConfirmationRequired,
    KeyInUse,
    cancel_deletion,
    create_master_key,
    destroy_due_keys,
    disable,
    enable,
    move_alias,
    rotate_master_key,
    schedule_deletion,
    witnesses,
)
from envelope_fields.lifecycle.witnesses import Confirmed, Witnesses
from envelope_fields.models import AuditEvent, KeyUse, MasterKey
from envelope_fields.policy import acting_as
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


def test_the_waiting_period_in_a_project_without_time_zones(settings):
    """By naive times in the zone of the settings, whichever one is activated for the user."""
    key, settings.USE_TZ = key_in("enabled"), False
    with timezone.override("Pacific/Kiritimati"):
        due = schedule_deletion(key)
    assert abs(due - timedelta(days=30) - timezone.now()) < timedelta(hours=1)


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
        assert events(key) == ["create_key", "schedule_deletion", "cancel_deletion"]

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

    def test_not_by_the_clock_of_a_machine_that_is_ahead(self, monkeypatch):
        key = key_in("enabled")
        schedule_deletion(key, 7)
        with monkeypatch.context() as patch:
            now = at(patch, days=0)
            patch.setattr("django.utils.timezone.now", lambda: now + timedelta(days=365))
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
    def test_it_has_to_be_confirmed_by_name_and_last_use(self):
        key = key_in("enabled")
        kms.encrypt("tenant", b"a", {})
        with pytest.raises(ConfirmationRequired) as caught:
            schedule_deletion(key)
        last = key_uses.last_use_by_kms(key)
        assert caught.value.expected == f"tenant@{last:%Y-%m-%dT%H:%M:%SZ}"
        assert caught.value.last_use == last
        assert f"{last:%Y-%m-%dT%H:%M:%SZ}" in str(caught.value)
        key.refresh_from_db()
        assert key.state == "enabled"
        for other in ("default", "tenant", "tenant@2020-01-01T00:00:00Z"):
            with pytest.raises(ConfirmationRequired):
                schedule_deletion(key, confirm=other)
        schedule_deletion(key, confirm=caught.value.expected)
        key.refresh_from_db()
        assert key.state == "pending_deletion"

    def test_of_a_key_without_alias(self):
        key = key_in("enabled")
        kms.encrypt("tenant", b"a", {})
        move_alias("tenant", key_in("enabled", "other"))
        with pytest.raises(ConfirmationRequired) as caught:
            schedule_deletion(key)
        assert caught.value.expected.startswith(f"{key.pk}@20")

    def test_a_use_after_the_page_was_read(self, monkeypatch):
        key = key_in("enabled")
        kms.encrypt("tenant", b"a", {})
        expected = confirmation_of(key)
        at(monkeypatch, seconds=5)
        kms.encrypt("tenant", b"a", {})
        with pytest.raises(ConfirmationRequired, match="quotes its last use") as caught:
            schedule_deletion(key, confirm=expected)
        schedule_deletion(key, confirm=caught.value.expected)

    def test_what_another_process_had_not_told_of_yet(self, monkeypatch):
        """It writes the uses that it has counted about a minute later."""
        key = key_in("enabled")
        schedule_deletion(key, 7)
        told_late(key)
        at(monkeypatch, days=8)
        done = destroy_due_keys()
        assert done.destroyed == []
        error = done.refused[0].error
        assert isinstance(error, ConfirmationRequired)
        assert "not known yet when its deletion was scheduled" in str(error)
        cancel_deletion(key)
        schedule_deletion(key, 7, confirm=error.expected)
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
        schedule_deletion(version, 7, confirm=confirmation_of(version))
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == [version]
        schedule_deletion(key, 7, confirm=confirmation_of(key))
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == [key]

    def test_a_use_by_kms_where_nothing_had_to_be_confirmed(self):
        then = timezone.now()
        used = then - timedelta(days=1)
        now = Witnesses(key_in("enabled"), used, used, (), ())
        assert list(Confirmed(then, {}).later(now))


class TestAttempts:
    """Somebody still needs what a key that is not enabled protects."""

    def test_one_on_a_pending_key_stops_its_destruction(self, monkeypatch):
        key = key_in("enabled")
        ciphertext = kms.encrypt("tenant", b"a", {})
        schedule_deletion(key, 7, confirm=confirmation_of(key))
        at(monkeypatch, days=3)
        with pytest.raises(MasterKeyUnusable):
            kms.decrypt(ciphertext, {})
        use = KeyUse.objects.get(channel="kms", action="decrypt")
        assert (use.uses, use.refused_at) == (0, timezone.now())
        at(monkeypatch, days=8)
        done = destroy_due_keys()
        assert done.destroyed == []
        assert "an attempt to use it was refused" in str(done.refused[0])
        error = done.refused[0].error
        cancel_deletion(key)
        schedule_deletion(key, 7, confirm=error.expected)
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == [key]

    def test_one_by_a_field(self, monkeypatch):
        key = key_in("enabled")
        note = TenantNote.objects.create(tenant="tenant", text="a")
        envelope = stored(note, "text")
        note.delete()
        schedule_deletion(key, 7)
        write(envelope)
        with pytest.raises(MasterKeyUnusable):
            _ = TenantNote.objects.get().text
        TenantNote.objects.all().delete()
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == []

    def test_one_that_only_this_process_knows_of(self, monkeypatch):
        """Within a minute of the last one, it is only counted."""
        key = key_in("enabled")
        ciphertext = kms.encrypt("tenant", b"a", {})
        disable(key)
        with pytest.raises(MasterKeyUnusable):
            kms.decrypt(ciphertext, {})
        schedule_deletion(key, 7, confirm=confirmation_of(key))
        at(monkeypatch, days=1)
        with pytest.raises(MasterKeyUnusable):
            kms.decrypt(ciphertext, {})
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == []

    def test_one_on_a_disabled_version_is_quoted(self, monkeypatch):
        key = key_in("enabled")
        ciphertext = kms.encrypt("tenant", b"a", {})
        rotate_master_key(key)
        version = key.versions.get(number=1)
        disable(version)
        now = at(monkeypatch, hours=1)
        with pytest.raises(MasterKeyUnusable):
            kms.decrypt(ciphertext, {})
        assert confirmation_of(version) == f"tenant@{now:%Y-%m-%dT%H:%M:%SZ}"

    def test_who_may_not_makes_none(self, django_user_model):
        """An answer of the policy comes first, and its refusal is in the audit trail."""
        key = key_in("enabled")
        ciphertext = kms.encrypt("tenant", b"a", {})
        disable(key)
        KeyUse.objects.all().delete()
        ann = django_user_model.objects.create_user("ann")
        with acting_as(ann), pytest.raises(KeyAccessDenied):
            kms.decrypt(ciphertext, {})
        key_uses.flush()
        assert not KeyUse.objects.filter(refused_at__isnull=False).exists()


class TestUsesByFields:
    def test_one_later_than_the_confirmation_voids_it(self, monkeypatch):
        """By a process that had not heard, of a value that is gone again."""
        key = key_in("enabled")
        schedule_deletion(key, 7)
        told_late(key, channel="fields", used_at=timezone.now() + timedelta(seconds=30))
        at(monkeypatch, days=8)
        done = destroy_due_keys()
        assert done.destroyed == []
        assert isinstance(done.refused[0].error, ConfirmationRequired)

    def test_one_that_is_earlier_does_not(self, monkeypatch):
        key = key_in("enabled")
        told_late(key, channel="fields", used_at=timezone.now())
        schedule_deletion(key, 7)
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == [key]

    def test_they_are_quoted_and_ask_for_nothing(self, monkeypatch):
        key = key_in("enabled")
        kms.encrypt("tenant", b"a", {})
        key_uses.flush()
        at(monkeypatch, hours=1)
        TenantNote.objects.create(tenant="tenant", text="a").delete()
        last = key_uses.last_use(key)
        assert confirmation_of(key) == f"tenant@{last:%Y-%m-%dT%H:%M:%SZ}"
        assert last > key_uses.last_use_by_kms(key)

    def test_rotation_is_no_use(self, monkeypatch):
        key = key_in("enabled")
        schedule_deletion(key, 7)
        told_late(key, channel="rotation", used_at=timezone.now() + timedelta(hours=1))
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == [key]


class TestWhatWasNotCounted:
    PLACE = NotCounted("default", "tenant1.clinic_patient", "it is a foreign table")

    @pytest.fixture
    def unseen(self, monkeypatch):
        places = [self.PLACE]
        monkeypatch.setattr(witnesses, "not_counted", lambda: places)
        return places

    def test_it_has_to_be_confirmed(self, unseen):
        key = key_in("enabled")
        with pytest.raises(ConfirmationRequired) as caught:
            schedule_deletion(key)
        assert str(self.PLACE) in str(caught.value)
        assert (caught.value.expected, caught.value.last_use) == ("tenant", None)
        schedule_deletion(key, confirm="tenant")

    def test_it_is_still_confirmed_at_the_end(self, unseen, monkeypatch):
        key = key_in("enabled")
        schedule_deletion(key, 7, confirm="tenant")
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == [key]

    def test_another_place_at_the_end(self, unseen, monkeypatch):
        key = key_in("enabled")
        schedule_deletion(key, 7, confirm="tenant")
        unseen.append(NotCounted("other", "clinic_patient", "it is a view"))
        at(monkeypatch, days=8)
        done = destroy_due_keys()
        assert done.destroyed == []
        assert "it is a view" in str(done.refused[0])
        assert "foreign table" not in str(done.refused[0])


class TestCopiesAsText:
    def copy(self, **changes):
        """Keep a value as text, as packages do that keep revisions."""
        note = TenantNote.objects.create(tenant="tenant", text="a")
        text = encode_text(bytes(stored(note, "text")))
        note.delete()
        user, _ = get_user_model().objects.get_or_create(username="ann")
        said = json.dumps([{"fields": {"text": text}}])
        return LogEntry.objects.create(user=user, action_flag=1, change_message=said)

    def test_they_have_to_be_confirmed(self):
        key = key_in("enabled")
        self.copy()
        with pytest.raises(ConfirmationRequired) as caught:
            schedule_deletion(key)
        assert "admin.LogEntry.change_message in the database 'default' (1)" in str(caught.value)
        schedule_deletion(key, confirm=caught.value.expected)

    def test_more_of_them_at_the_end(self, monkeypatch):
        key = key_in("enabled")
        entry = self.copy()
        schedule_deletion(key, 7, confirm=confirmation_of(key))
        entry.pk = None
        entry.save()
        at(monkeypatch, days=8)
        done = destroy_due_keys()
        assert done.destroyed == []
        assert "copied as text since" in str(done.refused[0])

    def test_fewer_of_them_at_the_end(self, monkeypatch):
        key = key_in("enabled")
        self.copy()
        schedule_deletion(key, 7, confirm=confirmation_of(key))
        LogEntry.objects.all().delete()
        at(monkeypatch, days=8)
        assert destroy_due_keys().destroyed == [key]


def test_fields_need_no_name():
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


def confirmation_of(row):
    """Return what confirms the deletion of a key or version."""
    with pytest.raises(ConfirmationRequired) as caught:
        schedule_deletion(row, confirm="what does not confirm it")
    return caught.value.expected


def told_late(key, channel="kms", **columns):
    """Store a use by kms, as a process does that had not heard of the deletion."""
    version = key.versions.get(number=1)
    now = timezone.now()
    columns = {"uses": 1, "used_at": now, **columns}
    KeyUse.objects.create(
        version=version, day=now.date(), action="encrypt", channel=channel, **columns
    )


def write(envelope):
    """Store an envelope past all rules, as another process or a restored table does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tests_tenantnote (tenant, text) VALUES ('x', %s)",
            [envelope],
        )
