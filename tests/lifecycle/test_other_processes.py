"""The longest time for which any process may go by what it knew of a key."""

import time
from datetime import timedelta
from threading import Thread

import pytest
from django.conf import settings
from django.db import OperationalError, connection, connections, transaction
from django.test import override_settings
from django.utils import timezone

from envelope_fields import audit, databases, kms
from envelope_fields.audit import uses as key_uses
from envelope_fields.audit.uses import last_sign
from envelope_fields.census import NotCounted
from envelope_fields.databases import Database
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyUnusable
from envelope_fields.keyring import age, rows
from envelope_fields.lifecycle import (
    begin_shredding,
    disable,
    finish_shredding,
    key_cache_bound,
    lower_key_cache_bound,
    other_processes,
    ready_to_shred_at,
    shred,
    shredding,
)
from envelope_fields.models import AuditEvent, KeyCacheBound, MasterKey
from envelope_fields.policy import acting_as
from tests.at_once import Transaction, at_once
from tests.lifecycle import at, ending, key_in, sleeping
from tests.models import Note, TenantNote
from tests.other_process import OtherProcess

pytestmark = pytest.mark.django_db(databases="__all__")


def starting_with(seconds):
    """What a process does that has this setting: it begins to use a key."""
    return override_settings(
        ENVELOPE_FIELDS={**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": seconds}
    )


def web(seconds):
    with starting_with(seconds):
        age.cache_seconds()


class TestRaising:
    def test_by_the_largest_that_a_process_started_with(self):
        assert key_cache_bound() == 0
        for seconds in (5, 60, 30):
            web(seconds)
        assert key_cache_bound() == 60

    def test_before_it_is_used(self, monkeypatch):
        seen, current_version = [], rows.current_version
        monkeypatch.setattr(
            rows,
            "current_version",
            lambda key: seen.append(key_cache_bound()) or current_version(key),
        )
        with starting_with(60):
            Note.objects.create(text="a", data=None)
        assert seen == [60]

    def test_a_process_that_keeps_nothing_asks_nothing(self, django_assert_num_queries):
        with django_assert_num_queries(0):
            assert age.cache_seconds() == 0

    def test_it_is_not_raised_where_that_fails(self, monkeypatch):
        """Then what the others rely on holds for this process, too."""
        monkeypatch.setattr(age, "_write", fail)
        with starting_with(60):
            assert age.cache_seconds() == 0
            Note.objects.create(text="a", data=None)
        assert Note.objects.get().text == "a"


def fail(*_):
    raise OperationalError("no")


class TestLowering:
    def test_every_process_goes_by_it(self):
        with starting_with(60):
            assert age.cache_seconds() == 60
            assert lower_key_cache_bound(10) == 10
            assert age.cache_seconds() == 10, "it was started before"
            assert key_cache_bound() == 10

    def test_a_larger_setting_raises_it_again(self):
        web(60)
        lower_key_cache_bound(10)
        web(30)
        assert key_cache_bound() == 30

    def test_it_is_in_the_trail(self):
        web(60)
        lower_key_cache_bound(10)
        event = AuditEvent.objects.latest("number")
        assert (event.action, event.before, event.after) == (
            "lower_key_cache_bound",
            {"seconds": "60"},
            {"seconds": "10"},
        )

    def test_nothing_is_raised_by_it(self):
        web(10)
        assert lower_key_cache_bound(20) == 10
        assert not AuditEvent.objects.filter(action="lower_key_cache_bound").exists()

    def test_by_the_application_alone(self, django_user_model):
        ann = django_user_model.objects.create_superuser("ann")
        web(60)
        with pytest.raises(KeyAccessDenied, match="lower_key_cache_bound"):
            lower_key_cache_bound(10, actor=ann)
        with acting_as(ann), pytest.raises(KeyAccessDenied):
            lower_key_cache_bound(10)
        assert key_cache_bound() == 60

    @pytest.mark.parametrize("seconds", [-1, float("nan"), True])
    def test_other_numbers(self, seconds):
        with pytest.raises(ValueError, match="number of seconds"):
            lower_key_cache_bound(seconds)


class TestShredding:
    def test_it_waits_for_processes_with_another_setting(self, monkeypatch):
        """The shredder itself keeps nothing."""
        key = key_in("enabled")
        web(60)
        slept = sleeping(monkeypatch)
        shred(key)
        assert 59 < slept[0] <= 60

    def test_by_a_clock_that_is_slower_than_that_of_the_machine(self, monkeypatch):
        known = at(monkeypatch) + timedelta(seconds=60)
        sleeping(monkeypatch, pace=0.99)
        other_processes.wait_until(known)
        assert databases.now() >= known

    def test_in_two_steps(self, monkeypatch):
        key = key_in("enabled")
        web(60)
        ready = begin_shredding(key)
        assert ready == ready_to_shred_at(key)
        committed_in = ready - key.state_changed_at - timedelta(seconds=60)
        assert timedelta(0) <= committed_in < timedelta(seconds=10)
        with pytest.raises(MasterKeyUnusable, match="yet"):
            finish_shredding(key)
        at(monkeypatch, seconds=61)
        finish_shredding(key)

    def test_what_was_read_before_the_bound_was_lowered(self, monkeypatch):
        key = key_in("enabled")
        web(60)
        start = at(monkeypatch)
        lower_key_cache_bound(5)
        at(monkeypatch, seconds=20)
        assert begin_shredding(key) == start + timedelta(seconds=60)

    def test_a_bound_that_was_lowered_long_ago(self, monkeypatch):
        key = key_in("enabled")
        web(60)
        lower_key_cache_bound(5)
        now = at(monkeypatch, seconds=100)
        assert begin_shredding(key) == now + timedelta(seconds=5)

    def test_lowered_after_it_was_disabled(self, monkeypatch):
        """The longer wait has begun by then."""
        key = key_in("enabled")
        web(60)
        start = at(monkeypatch)
        begin_shredding(key)
        at(monkeypatch, seconds=20)
        lower_key_cache_bound(5)
        assert ready_to_shred_at(key) == start + timedelta(seconds=60)

    def test_lowered_twice(self, monkeypatch):
        key = key_in("enabled")
        web(60)
        at(monkeypatch)
        lower_key_cache_bound(30)
        now = at(monkeypatch, seconds=10)
        lower_key_cache_bound(5)
        assert begin_shredding(key) == now + timedelta(seconds=60)


@pytest.mark.django_db(transaction=True, databases="__all__")
class TestCommitted:
    def test_another_process(self):
        key = key_in("enabled")
        with OtherProcess() as other:
            other("Note.objects.create(text='a', data=None).pk")
            assert key_cache_bound() == 60
            assert begin_shredding(key) - timezone.now() > timedelta(seconds=50)

    @pytest.mark.skipif("connection.vendor == 'sqlite'", reason="see the next one")
    def test_in_a_transaction_that_is_rolled_back(self):
        with starting_with(60), transaction.atomic():
            assert age.cache_seconds() == 60
            transaction.set_rollback(True)
        assert key_cache_bound() == 60

    @pytest.mark.skipif("connection.vendor != 'sqlite'", reason="others have a second connection")
    @pytest.mark.parametrize("rolled_back", [True, False])
    def test_sqlite_raises_it_after_the_transaction(self, rolled_back):
        with starting_with(60), transaction.atomic():
            assert [age.cache_seconds() for _ in range(3)] == [0] * 3
            assert len(connection.run_on_commit) == 1
            transaction.set_rollback(rolled_back)
        assert key_cache_bound() == (0 if rolled_back else 60)

    def test_many_processes_start(self):
        def start(seconds):
            with connections["default"].cursor():
                age._write("default", seconds)

        jobs = [lambda seconds=seconds: start(seconds) for seconds in (10, 60, 30)]
        if connection.vendor == "sqlite":
            jobs = jobs[:1]
        assert at_once(*jobs) == [None] * len(jobs)
        assert key_cache_bound() == max([10, 60, 30][: len(jobs)])


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="its one writer has ended by then")
class TestOpenTransactions:
    """What one of them wrote before every process knew is committed after the count."""

    def shred_beside(self, key, monkeypatch, *, commits):
        with Transaction(lambda: TenantNote.objects.create(tenant="tenant", text="late")) as late:
            if commits:  # as soon as it was seen
                monkeypatch.setattr(Database, "pause", ending(late))
            else:
                monkeypatch.setattr(shredding, "WAIT_SECONDS", 0)
            return shred(key)

    def test_one_that_ends_is_counted(self, monkeypatch):
        key = key_in("enabled")
        assert self.shred_beside(key, monkeypatch, commits=True).total == 1

    def test_one_that_stays_stops_it(self, monkeypatch):
        key = key_in("enabled")
        with pytest.raises(MasterKeyUnusable, match="transactions are open"):
            self.shred_beside(key, monkeypatch, commits=False)
        key.refresh_from_db()
        assert key.state == "disabled"
        assert shred(key).total == 1

    def test_one_in_the_database_of_the_keys_is_waited_for(self, settings, monkeypatch):
        """It may see keys as they were when it began, however often it reads them."""
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "DATABASE": "other"}
        monkeypatch.setattr(other_processes, "stored_columns", list)
        with Transaction(lambda: begin("other")):
            left = other_processes.wait_for_older(databases.now(), 0)
        assert {each.database for each in left.still_open} == {"other"}

    def test_one_that_began_later_is_not_waited_for(self, monkeypatch):
        key = key_in("disabled")
        an_hour_ago = timezone.now() - timedelta(hours=1)
        type(key).objects.filter(pk=key.pk).update(state_changed_at=an_hour_ago)
        monkeypatch.setattr(other_processes, "WAIT_SECONDS", 0)
        with Transaction(lambda: list(TenantNote.objects.all())):
            assert finish_shredding(key).total == 0


def begin(alias):
    """Begin a transaction that ends when its thread does."""
    connections[alias].set_autocommit(False)
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_migrations")
        cursor.fetchall()


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it is on one machine")
class TestClocks:
    """Two machines tell different times, and the database one to both."""

    def test_who_disables_and_who_destroys(self, monkeypatch):
        key = key_in("enabled")
        web(60)
        begin_shredding(key)
        ahead(monkeypatch, hours=1)
        with pytest.raises(MasterKeyUnusable, match="yet"):
            finish_shredding(key)

    def test_who_disables_is_late(self, monkeypatch):
        key = key_in("enabled")
        web(60)
        with monkeypatch.context() as patch:
            ahead(patch, hours=-1)
            disable(key)
        with pytest.raises(MasterKeyUnusable, match="yet"):
            finish_shredding(key)

    def test_transactions_are_as_old_as_they_are(self, monkeypatch):
        """What began before every process knew is older, whatever time it is here."""
        key = key_in("enabled")
        seen = []
        monkeypatch.setattr(
            other_processes,
            "wait_for_older",
            lambda moment, _: seen.append(databases.now() - moment) or other_processes.Waited(),
        )
        with monkeypatch.context() as patch:
            ahead(patch, hours=1)
            shred(key)
        assert timedelta(0) <= seen[0] < timedelta(minutes=1)

    def test_uses_are_told_by_the_same(self, monkeypatch):
        key = key_in("enabled")
        before = databases.now()
        with monkeypatch.context() as patch:
            ahead(patch, hours=-1)
            kms.encrypt("tenant", b"a", {})
            assert before <= last_sign(key) <= databases.now()  # in memory
            key_uses.flush()
        assert before <= last_sign(key) <= databases.now()


def ahead(monkeypatch, **by):
    """Let the clock of this machine be so much ahead."""
    now = timezone.now
    monkeypatch.setattr("django.utils.timezone.now", lambda: now() + timedelta(**by))


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has no locks of rows")
@pytest.mark.parametrize("act", [disable, lambda key: lower_key_cache_bound(5)])
def test_the_wait_for_the_trail_is_none_of_the_time_since(act):
    """Until the commit, others find what was there before."""
    key = key_in("enabled")
    web(60)

    with Transaction(lambda: audit.hold("default")) as other:
        thread = Thread(target=at_once, args=[lambda: act(MasterKey.objects.get(pk=key.pk))])
        thread.start()
        time.sleep(0.5)
        released = databases.now()
        other.may_end.set()
        thread.join()
    key.refresh_from_db()
    lowered_at = KeyCacheBound.objects.get().lowered_at
    assert (lowered_at or key.state_changed_at) >= released


def test_where_it_could_not_look_is_in_the_certificate(monkeypatch):
    key = key_in("enabled")
    place = NotCounted("other", "transactions that are under way", "no right")
    monkeypatch.setattr(
        other_processes, "wait_for_older", lambda *_: other_processes.Waited(unseen=[place])
    )
    certificate = shred(key)
    assert certificate.not_counted == (str(place),)
    assert f"Not counted: {place}." in str(certificate)
    assert shred(key).not_counted == (str(place),)


def test_one_row():
    web(60)
    assert [str(row) for row in KeyCacheBound.objects.all()] == ["60 s"]
