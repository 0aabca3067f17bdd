"""The order of a deletion: the state, the count under no lock, and the confirmation."""

import os
from threading import Thread

import pytest
from django.conf import settings
from django.db import connection, connections, transaction

from envelope_fields import kms
from envelope_fields.census import CensusFailed, NotCounted
from envelope_fields.databases import Database
from envelope_fields.databases.mysql import MySQL
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle import (
    ConfirmationRequired,
    KeyInUse,
    cancel_deletion,
    deletion,
    destroy_due_keys,
    disable,
    expecting,
    other_processes,
    schedule_deletion,
    witnesses,
)
from envelope_fields.models import AuditEvent, MasterKey
from tests.at_once import Transaction, at_once
from tests.lifecycle import at, ending, events, key_in
from tests.models import TenantNote

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def while_counting(monkeypatch, function):
    """Call a function in another thread, with its own connections, while values are counted."""
    count, seen = deletion.census, []

    def counting(row):
        seen.extend(at_once(function))
        return count(row)

    monkeypatch.setattr(deletion, "census", counting)
    return seen


def test_others_know_before_values_are_counted(monkeypatch):
    key = key_in("enabled")
    seen = while_counting(monkeypatch, lambda: MasterKey.objects.get(pk=key.pk).state)
    schedule_deletion(key)
    assert seen == ["pending_deletion"]
    assert key.state == "pending_deletion"
    assert events(key) == ["create_key", "schedule_deletion"]


def test_no_lock_is_held_meanwhile(monkeypatch):
    key = key_in("enabled")
    seen = while_counting(
        monkeypatch, lambda: MasterKey.objects.filter(pk=key.pk).update(description="changed")
    )
    schedule_deletion(key)
    assert seen == [1]
    key.refresh_from_db()
    assert (key.state, key.description) == ("pending_deletion", "changed")


class TestTheStateBack:
    @pytest.mark.parametrize("state", ["enabled", "disabled"])
    def test_where_there_are_values(self, state):
        key = key_in("enabled")
        TenantNote.objects.create(tenant="tenant", text="a")
        if state == "disabled":
            disable(key)
        with pytest.raises(KeyInUse):
            schedule_deletion(key)
        assert key.state == state
        key.refresh_from_db()
        assert (key.state, key.deletion_at) == (state, None)

    def test_where_they_cannot_be_counted(self, monkeypatch):
        key = key_in("enabled")

        def fail(_):
            raise CensusFailed("no")

        monkeypatch.setattr(deletion, "census", fail)
        with pytest.raises(CensusFailed):
            schedule_deletion(key)
        key.refresh_from_db()
        assert key.state == "enabled"

    def test_a_process_that_dies_leaves_a_deletion_that_confirms_nothing(self, monkeypatch):
        key = key_in("enabled")
        kms.encrypt("tenant", b"a", {})

        def die(*_):
            raise SystemExit  # and nothing is put back

        with monkeypatch.context() as patch:
            patch.setattr(deletion, "census", die)
            patch.setattr("envelope_fields.lifecycle.deletion._put_back", die)
            with pytest.raises(SystemExit):
                schedule_deletion(key, 7, confirm="tenant")
        at(monkeypatch, days=8)
        done = destroy_due_keys()
        assert done.destroyed == []
        assert isinstance(done.refused[0].error, ConfirmationRequired)

    def test_the_trail_says_both(self):
        key = key_in("enabled")
        TenantNote.objects.create(tenant="tenant", text="a")
        with pytest.raises(KeyInUse):
            schedule_deletion(key)
        assert events(key) == ["create_key", "schedule_deletion", "cancel_deletion"]
        event = AuditEvent.objects.latest("number")
        assert (event.before["state"], event.after) == (
            "pending_deletion",
            {"state": "enabled", "because": "KeyInUse"},
        )


class TestCancelledMeanwhile:
    @pytest.fixture
    def key(self, monkeypatch):
        key = key_in("enabled")
        while_counting(monkeypatch, lambda: cancel_deletion(MasterKey.objects.get(pk=key.pk)))
        yield key
        key.refresh_from_db()
        assert (key.state, key.deletion_at) == ("disabled", None)

    def test_it_was_scheduled_first(self, key):
        assert schedule_deletion(key)
        assert events(key) == ["create_key", "schedule_deletion", "cancel_deletion"]

    def test_there_is_nothing_to_put_back(self, key):
        TenantNote.objects.create(tenant="tenant", text="a")
        with pytest.raises(KeyInUse):
            schedule_deletion(key)

    def test_nothing_is_confirmed(self, key, monkeypatch):
        place = NotCounted("default", "clinic_patient", "it is a view")
        monkeypatch.setattr(witnesses, "not_counted", lambda: [place])
        with pytest.raises(MasterKeyUnusable, match="was changed while"):
            schedule_deletion(key, confirm="tenant")


def test_what_the_caller_has_seen_is_asked_once(monkeypatch):
    """A page or an ETag shows the state before, which the first step changes."""
    key, asked = key_in("enabled"), []
    with expecting(lambda row: asked.append(row.state)):
        schedule_deletion(key)
    assert asked == ["enabled"]


def test_not_where_the_state_could_be_rolled_back():
    key = key_in("enabled")
    with transaction.atomic(), pytest.raises(MasterKeyUnusable, match="inside a transaction"):
        schedule_deletion(key)
    key.refresh_from_db()
    assert key.state == "enabled"


def writer():
    """Return another connection that has written a value and not committed it yet."""
    return Transaction(lambda: TenantNote.objects.create(tenant="tenant", text="late"))


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="there, the first step waits for it")
class TestWritersUnderWay:
    def test_one_that_commits_is_counted(self, monkeypatch):
        key = key_in("enabled")
        with writer() as late:
            # It ends as soon as it was seen.
            monkeypatch.setattr(Database, "pause", ending(late))
            with pytest.raises(KeyInUse):
                schedule_deletion(key)
        assert TenantNote.objects.get().text == "late"

    def test_one_that_stays_is_named(self, monkeypatch):
        key = key_in("enabled")
        monkeypatch.setattr(other_processes, "WAIT_SECONDS", 0)
        with writer(), pytest.raises(ConfirmationRequired) as caught:
            schedule_deletion(key)
        assert "the transaction of process" in str(caught.value)
        assert "in the database 'default'" in str(caught.value)
        key.refresh_from_db()
        assert key.state == "enabled"

    def test_one_that_reads_is_not_waited_for(self, monkeypatch):
        key = key_in("enabled")
        monkeypatch.setattr(other_processes, "WAIT_SECONDS", 0)

        def reading():
            with transaction.atomic():
                list(TenantNote.objects.all())
                return schedule(key)

        def schedule(key):
            return at_once(lambda: schedule_deletion(MasterKey.objects.get(pk=key.pk)))[0]

        assert at_once(reading)[0] == MasterKey.objects.get(pk=key.pk).deletion_at


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="it alone has such partitions")
def test_who_writes_to_a_partition_is_under_way(monkeypatch):
    monkeypatch.setattr(other_processes, "WAIT_SECONDS", 0)
    table = TenantNote._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE part_of_it () INHERITS ({table})")
    try:
        with Transaction(lambda: execute("DELETE FROM part_of_it")):
            assert len(other_processes.wait_for_writers().still_open) == 1
        assert other_processes.wait_for_writers().still_open == []
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE part_of_it")


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="others say who writes")
def test_sqlite_waits_for_its_writer():
    key_in("enabled")
    with writer() as late:
        Thread(target=late.may_end.set).start()
        left = other_processes.wait_for_writers()
    assert (left.still_open, left.unseen) == ([], [])


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="it alone shows what was before")
def test_what_was_before_is_not_taken_for_now(monkeypatch):
    """It is shown as long as anybody asks every tenth of a second, in this test by a stand-in."""
    key_in("enabled")
    monkeypatch.setattr(other_processes, "WAIT_SECONDS", 0)
    shown = MySQL._shown

    def as_before(database, sql, mark, *parameters):
        return shown(database, sql, "%as before%", *parameters)

    with writer():
        assert len(other_processes.wait_for_writers().still_open) == 1
        monkeypatch.setattr(MySQL, "_shown", as_before)
        monkeypatch.setattr(MySQL, "_pause_in_sight", lambda database, mark: None)
        left = other_processes.wait_for_writers()
    assert left.still_open == []
    assert {unseen.database for unseen in left.unseen} == {"default", "other"}
    assert "INNODB_TRX" in left.unseen[0].reason


def test_several_look_at_once():
    """MariaDB shows something new where nobody has looked for a while, and that to all of them."""
    key_in("enabled")
    waited = at_once(*[other_processes.wait_for_writers] * 8)
    assert [(each.still_open, each.unseen) for each in waited] == [([], [])] * 8


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="needs a right there alone")
def test_without_the_right_it_is_named(monkeypatch):
    name = connection.settings_dict["NAME"]
    user = f"{settings.PREFIX}_{os.getpid()}_no_process"  # a server has it for all its databases
    account = f"'{user}'@'%'"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE USER {account} IDENTIFIED BY 'x'")
        cursor.execute(f"GRANT ALL ON `{name}`.* TO {account}")
    there = connections["other"].settings_dict
    try:
        with monkeypatch.context() as patch:
            for setting, value in (("USER", user), ("PASSWORD", "x"), ("NAME", name)):
                patch.setitem(there, setting, value)
            [left] = at_once(other_processes.wait_for_writers)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP USER {account}")
    [unseen] = left.unseen
    assert (unseen.database, unseen.location) == ("other", "transactions that are under way")
    assert "PROCESS" in unseen.reason


@pytest.mark.skipif(connection.vendor != "mysql", reason="MariaDB alone has this mode")
def test_transactions_are_seen_in_every_sql_mode(monkeypatch):
    """Some words are reserved in that of Oracle."""
    key = key_in("enabled")
    for each in connections.all():
        monkeypatch.setitem(each.settings_dict["OPTIONS"], "sql_mode", "ORACLE")
        each.close()
    try:
        schedule_deletion(key)
    finally:
        monkeypatch.undo()
        connections.close_all()
