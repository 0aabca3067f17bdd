"""Uses of key versions: counted per day, written in batches, and never in the way."""

from datetime import timedelta
from itertools import count

import pytest
from django.core.signals import request_finished, request_started
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.utils import timezone

from envelope_fields import databases, kms, rotation
from envelope_fields.audit import uses as key_uses
from envelope_fields.audit.uses import Day
from envelope_fields.fields import open_values
from envelope_fields.keyring.age import uptime
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import KeyUse, MasterKey
from envelope_fields.rotation import verification
from tests.at_once import Transaction, at_once
from tests.models import Note

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_from_before():
    key_uses.flush()
    KeyUse.objects.all().delete()


def uses():
    return {
        (use.version.number, use.action, use.channel): use.uses
        for use in KeyUse.objects.select_related("version")
    }


def test_values_are_counted():
    Note.objects.bulk_create(Note(text="a", data=None) for _ in range(5))
    open_values(Note.objects.all())
    open_values(Note.objects.all())
    key_uses.flush()
    assert uses() == {(1, "encrypt", "fields"): 5, (1, "decrypt", "fields"): 10}


def test_later_ones_are_added():
    for _ in range(2):
        Note.objects.create(text="a", data=None)
        key_uses.flush()
    assert uses() == {(1, "encrypt", "fields"): 2}
    key_uses.flush()
    assert uses() == {(1, "encrypt", "fields"): 2}


def test_by_day(monkeypatch):
    today = timezone.now()
    monkeypatch.setattr("django.utils.timezone.now", lambda: today)
    Note.objects.create(text="a", data=None)
    key_uses.flush()
    tomorrow = today + timedelta(days=1)
    monkeypatch.setattr("django.utils.timezone.now", lambda: tomorrow)
    Note.objects.create(text="a", data=None)
    key_uses.flush()
    days = list(KeyUse.objects.order_by("day").values_list("day", "uses"))
    assert days == [(today.date(), 1), (tomorrow.date(), 1)]


def test_the_channel_and_the_action_of_kms():
    key = create_master_key("files")
    kms.decrypt(kms.encrypt("files", b"a", {}), {})
    kms.generate_data_key_without_plaintext("files", {})
    key_uses.flush()
    assert uses() == {
        (1, "encrypt", "kms"): 1,
        (1, "decrypt", "kms"): 1,
        (1, "generate_data_key", "kms"): 1,
    }
    assert key_uses.last_use_by_kms(key) is not None


class TestLastUse:
    def test_before_it_is_written(self):
        before = key_uses.to_the_second(timezone.now())
        note = Note.objects.create(text="a", data=None)
        key = MasterKey.objects.get()
        assert KeyUse.objects.count() == 0
        seen = key_uses.last_use(key)
        assert before <= seen <= timezone.now()
        assert seen.microsecond == 0
        key_uses.flush()
        assert key_uses.last_use(key) == seen
        assert Note.objects.get(pk=note.pk).text == "a"
        assert key_uses.last_use(key) >= seen

    def test_it_stays_as_it_was_quoted(self, monkeypatch):
        """However long the database takes each time to say what time it is."""
        answers = count()
        monkeypatch.setattr(databases, "ahead", lambda: timedelta(seconds=next(answers)))
        Note.objects.create(text="a", data=None)
        key = MasterKey.objects.get()
        seen = key_uses.last_sign(key)
        assert key_uses.last_sign(key) == seen
        key_uses.flush()
        assert key_uses.last_sign(key) == seen

    def test_when_it_was_and_not_when_it_is_written(self, monkeypatch):
        Note.objects.create(text="a", data=None)
        now = uptime()
        monkeypatch.setattr(key_uses, "uptime", lambda: now + 300)
        key_uses.flush()
        ago = timezone.now() - key_uses.last_use(MasterKey.objects.get())
        assert timedelta(seconds=299) < ago < timedelta(seconds=360)

    def test_the_latest_of_a_day(self):
        for _ in range(2):
            Note.objects.create(text="a", data=None)
            key_uses.flush()
            first = KeyUse.objects.get().used_at
        use = KeyUse.objects.get()
        assert use.used_at >= first
        earlier = Day(uses=1, used_at=first - timedelta(hours=1))
        which = bytes(use.version.version_id), use.day, use.action, use.channel
        key_uses.write({which: earlier}, "default")
        assert (KeyUse.objects.get().uses, KeyUse.objects.get().used_at) == (3, use.used_at)

    def test_rotation_and_verification_are_none(self):
        Note.objects.create(text="a", data=None)
        key_uses.flush()
        KeyUse.objects.all().delete()
        key = MasterKey.objects.get()
        rotate_master_key(key)
        rotation.run(rotation.start(key, database="default"))
        assert [each.unreadable for each in verification.verify(["tests.Note"], "default")] == [[]]
        key_uses.flush()
        assert {use.channel for use in KeyUse.objects.all()} == {"rotation"}
        assert key_uses.last_use(key) is None

    def test_of_one_version(self):
        key = create_master_key("files")
        kms.encrypt("files", b"a", {})
        new = rotate_master_key(key)
        assert key_uses.last_use(new) is None
        assert key_uses.last_use(key.versions.get(number=1)) is not None
        assert key_uses.last_use(key) is not None

    def test_fields_are_not_kms(self):
        Note.objects.create(text="a", data=None)
        key = MasterKey.objects.get()
        assert key_uses.last_use(key) is not None
        assert key_uses.last_use_by_kms(key) is None


def test_a_version_that_was_rolled_back():
    with transaction.atomic():
        create_master_key("gone")
        Note.objects.create(text="a", data=None)
        kms.encrypt("default", b"a", {})
        transaction.set_rollback(True)
    key_uses.flush()
    assert {channel for _, _, channel in uses()} <= {"fields", "kms"}


def test_what_could_not_be_written_is_kept(monkeypatch):
    Note.objects.create(text="a", data=None)

    def fail(*_):
        raise DatabaseError("no")

    with monkeypatch.context() as patch:
        patch.setattr(key_uses, "write", fail)
        with pytest.raises(DatabaseError):
            key_uses.flush()
    key_uses.flush()
    assert uses() == {(1, "encrypt", "fields"): 1}


@pytest.mark.django_db(transaction=True)
class TestWhen:
    @pytest.fixture(autouse=True)
    def due(self, nothing_from_before, monkeypatch):
        monkeypatch.setattr(key_uses.buffer, "due_at", 0)

    def test_after_a_request(self):
        Note(text="a", data=None).save()
        key_uses.buffer.due_at = 0
        request_finished.send(None)
        assert sum(uses().values()) == 1

    def test_after_one_that_used_a_key(self):
        Note(text="a", data=None).save()
        request_started.send(None)
        key_uses.buffer.due_at = 0
        request_finished.send(None)
        assert uses() == {}

    def test_not_twice_in_a_minute(self):
        request_finished.send(None)
        Note.objects.create(text="a", data=None)
        request_finished.send(None)
        assert uses() == {}

    def test_not_in_a_transaction(self):
        with transaction.atomic():
            Note.objects.create(text="a", data=None)
            key_uses.buffer.write_if_due()
            assert KeyUse.objects.count() == 0

    def test_while_another_transaction_has_the_rows(self, monkeypatch):
        if connection.vendor == "sqlite":
            pytest.skip("it has a time-out of its own, for every statement")
        monkeypatch.setattr("envelope_fields.databases.transactions.LOCK_SECONDS", 1)
        Note.objects.create(text="a", data=None)
        key_uses.flush()
        before = uses()
        Note.objects.create(text="a", data=None)
        rows = KeyUse.objects.all()
        with Transaction(lambda: rows.update(uses=F("uses"))), pytest.raises(DatabaseError):
            key_uses.flush()
        key_uses.flush()
        assert uses() == {which: 2 * times for which, times in before.items()}

    def test_two_at_once(self):
        if connection.vendor == "sqlite":
            pytest.skip("SQLite lets one write at a time")
        Note.objects.bulk_create(Note(text="a", data=None) for _ in range(100))
        assert at_once(*[key_uses.flush] * 4) == [None] * 4
        assert sum(uses().values()) == 100
