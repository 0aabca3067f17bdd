"""Others write, delete, lock and rotate while a rotation goes on: nothing is lost."""

import random
import threading
import time

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, connections, transaction

from envelope_fields import grants, keyring, lifecycle, rotation
from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyUnusable
from envelope_fields.keyring.age import uptime
from envelope_fields.keyring.transfer import Transfer
from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.models import MasterKey, RotationRun, RotationState
from envelope_fields.policy import APPLICATION, acting_as
from envelope_fields.rotation import Limits
from tests.at_once import at_once
from tests.models import Note, TenantNote
from tests.rotation import left, numbers_of
from tests.stored import stored

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

POLITE = Limits(batch_size=5, lock_seconds=1)


def notes(count=30):
    return Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(count)])


def no_row_locks():
    return connection.vendor == "sqlite"


def test_what_is_written_between_reading_and_swapping_stays(monkeypatch):
    """When a rotation has read a batch, somebody else saves, updates and deletes."""
    from envelope_fields.rotation.rewrap import Rewrap

    rows = notes(4)
    rotate_master_key("default")
    moves, done = Rewrap.process, []

    def interrupted(self, values):
        if not done:
            done.append(True)
            at_once(write)
        return moves(self, values)

    def write():
        note = Note.objects.get(pk=rows[0].pk)
        note.text = "saved"
        note.save()
        Note.objects.filter(pk=rows[1].pk).update(text="updated")
        Note.objects.filter(pk=rows[2].pk).delete()

    monkeypatch.setattr(Rewrap, "process", interrupted)
    run = rotation.run("default")
    assert run.state == RotationState.COMPLETED
    told = rotation.progress(run)
    assert (told.moved, told.skipped, told.remaining) == (1, 3, 0)
    assert list(Note.objects.order_by("pk").values_list("text", flat=True)) == [
        "saved", "updated", "3",
    ]  # fmt: skip
    assert left("default") == 0


def test_values_under_the_old_version_that_come_later(monkeypatch):
    """A process that has not heard of the rotation writes behind the back of the pass."""
    rows = notes(3)
    stale = keyring.values.wrapping_key("default", "default")
    rotate_master_key("default")
    field = Note._meta.get_field("text")
    late = []

    def write_late(tally):
        if not late:
            from envelope_fields.crypto.envelope import encrypt
            from tests.rotation import put

            late.append(True)
            put(rows[0], "text", encrypt(stale, b"late", field.contexts[0]))

    run = rotation.run("default", watch=write_late)
    assert (run.state, run.pass_number) == (RotationState.COMPLETED, 2)
    assert left("default") == 0
    assert Note.objects.get(pk=rows[0].pk).text == "late"


def test_a_batch_that_waits_while_its_key_is_shredded(monkeypatch, settings):
    """Nobody counts what is not committed: it must not come under a version that is destroyed."""
    from envelope_fields.jobs.batches import Batches

    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0.2}
    rows = notes(3)
    second = rotate_master_key("default")
    swap, done = Batches._swap, []

    def waited(self, changes, tally):
        if not done:  # as if it had waited for a lock all the time
            rotate_master_key("default")
            done.append(lifecycle.shred(second))
        return swap(self, changes, tally)

    monkeypatch.setattr(Batches, "_swap", waited)
    run = rotation.run("default")
    assert [certificate.fields for certificate in done] == [()]
    assert (run.state, rotation.progress(run).skipped) == (RotationState.COMPLETED, len(rows))
    assert sorted(note.text for note in Note.objects.all()) == ["0", "1", "2"]
    assert left("default") == 0


def test_a_key_that_another_process_disables_meanwhile(monkeypatch):
    monkeypatch.setattr("envelope_fields.keyring.transfer.SECONDS_BETWEEN_LOOKS", 0.05)
    notes(4)
    rotate_master_key("default")

    def disable(tally):
        with connection.cursor() as cursor:  # which tells this process nothing
            cursor.execute(f"UPDATE {MasterKey._meta.db_table} SET state = 'disabled'")
        time.sleep(0.05)

    with pytest.raises(MasterKeyUnusable):
        rotation.run("default", limits=Limits(batch_size=1), watch=disable)
    assert numbers_of(RotationRun.objects.get())[1] == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the others see the present here")
def test_a_snapshot_says_nothing_of_what_came_after(monkeypatch):
    now = [uptime()]
    monkeypatch.setattr("envelope_fields.keyring.transfer.uptime", lambda: now[0])
    first = MasterKey.objects.get(alias="default").current_version
    transfer = Transfer("default", "tests.note.text")
    transfer.begin()
    assert transfer.wrapping_key("default").header[1:] == bytes(first.version_id)
    with transaction.atomic():
        since = now[0]
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT 1")
        assert transfer.may_still_write(since)
        at_once(lambda: (rotate_master_key("default"), lifecycle.disable(first)))
        now[0] += configuration().key_cache_seconds
        assert not transfer.may_still_write(since)


def disable_key(user, grant):
    lifecycle.disable("tenant")


def take_right_away(user, grant):
    grants.revoke(grant)


def let_user_go(user, grant):
    user.is_active = False
    user.save()


@pytest.mark.parametrize("act", [disable_key, take_right_away, let_user_go])
def test_what_this_process_changes_holds_at_once(act, monkeypatch, settings):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 1000}
    monkeypatch.setattr("envelope_fields.keyring.transfer.SECONDS_BETWEEN_LOOKS", 1000)
    key = lifecycle.create_master_key("tenant")
    user = get_user_model().objects.create_user("olga")
    grant = grants.grant(key, user, ["re_encrypt"])
    TenantNote.plain_objects.bulk_create(
        [TenantNote(tenant="tenant", text=f"{n}") for n in range(4)]
    )
    rotate_master_key(key)
    with acting_as(user):
        run = rotation.start(key, limits=Limits(batch_size=1))
    with pytest.raises((MasterKeyUnusable, KeyAccessDenied)):
        rotation.run(run, watch=lambda tally: acting_as(APPLICATION)(act)(user, grant))
    assert numbers_of(RotationRun.objects.get())[1] == 1


def test_a_second_rotation_meanwhile():
    notes(20)
    rotate_master_key("default")
    turns = []

    def rotate(tally):
        if len(turns) < 3:
            turns.append(rotate_master_key("default").number)

    run = rotation.run("default", limits=POLITE, watch=rotate)
    assert turns == [3, 4, 5]
    assert run.state == RotationState.COMPLETED
    assert left("default") == 0
    assert sorted(int(note.text) for note in Note.objects.all()) == list(range(20))


def test_two_work_on_one_run():
    notes(60)
    rotate_master_key("default")
    run = rotation.start("default", limits=POLITE)
    done = at_once(lambda: rotation.run(run), lambda: rotation.run(run))
    assert [each.state for each in done] == [RotationState.COMPLETED] * 2
    assert left("default") == 0
    assert sorted(int(note.text) for note in Note.objects.all()) == list(range(60))


def test_two_start_one():
    notes(3)
    rotate_master_key("default")
    outcomes = at_once(*[lambda: rotation.start("default")] * 4)
    started = [each for each in outcomes if not isinstance(each, Exception)]
    refused = [each for each in outcomes if isinstance(each, rotation.RotationUnderWay)]
    assert (len(started), len(refused)) == (1, 3)


def test_a_locked_row_keeps_nobody_waiting_for_long():
    if no_row_locks():
        pytest.skip("SQLite locks no rows")
    rows = notes(10)
    rotate_master_key("default")
    locked, release = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            Note.objects.select_for_update().get(pk=rows[4].pk)
            locked.set()
            release.wait(30)

    def turn():
        locked.wait(30)
        return rotation.run("default", limits=Limits(lock_seconds=0.5, tries=2), watch=let_go)

    def let_go(tally):
        seen.append((tally.moved, tally.skipped))
        release.set()

    seen = []
    _, run = at_once(hold, turn)
    assert seen[0] == (9, 1)
    assert run.state == RotationState.COMPLETED
    assert left("default") == 0


def test_a_row_that_stays_locked_is_said():
    if no_row_locks():
        pytest.skip("SQLite locks no rows")
    rows = notes(5)
    rotate_master_key("default")
    locked, release = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            Note.objects.select_for_update().get(pk=rows[2].pk)
            locked.set()
            release.wait(60)

    def turn():
        locked.wait(30)
        try:
            return rotation.run("default", limits=Limits(lock_seconds=0.5, tries=2))
        finally:
            release.set()

    _, run = at_once(hold, turn)
    assert run.state == RotationState.FAILED
    assert "1 value stayed" in run.error
    assert rotation.run("default").state == RotationState.COMPLETED


def test_a_lost_connection_is_opened_again():
    if no_row_locks():
        pytest.skip("SQLite has no connection to lose")
    notes(20)
    rotate_master_key("default")
    cut = []

    def cut_once(tally):
        if not cut:
            cut.append(True)
            end = {
                "postgresql": "SELECT pg_terminate_backend(%s)",
                "mysql": "KILL CONNECTION %s",
            }[connection.vendor]
            ask = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}
            with connection.cursor() as cursor:
                cursor.execute(ask[connection.vendor])
                mine = cursor.fetchone()[0]
            at_once(lambda: _execute(end, mine))

    run = rotation.run("default", limits=POLITE, watch=cut_once)
    assert run.state == RotationState.COMPLETED
    assert left("default") == 0
    assert sorted(int(note.text) for note in Note.objects.all()) == list(range(20))


def _execute(sql, parameter):
    with connections["default"].cursor() as cursor:
        cursor.execute(sql, [parameter])


def test_writers_and_readers_all_along():
    rows = notes(50)
    rotate_master_key("default")
    stop = threading.Event()
    last = {}

    def write():
        number = 0
        chooser = random.Random(7)
        while not stop.is_set() and number < 3000:
            number += 1
            row = chooser.choice(rows)
            Note.objects.filter(pk=row.pk).update(text=f"written {number}")
            last[row.pk] = f"written {number}"
            time.sleep(0.001)

    def read():
        seen = 0
        while not stop.is_set():
            seen += len([note.text for note in Note.objects.all()])
            time.sleep(0.005)
        return seen

    def turn():
        try:
            for _ in range(4):
                run = rotation.run("default", limits=Limits(batch_size=3))
                rotate_master_key("default")
            return run
        finally:
            stop.set()

    outcomes = at_once(write, read, turn)
    assert not [each for each in outcomes if isinstance(each, Exception)], outcomes
    for row in rows:
        text = Note.objects.get(pk=row.pk).text
        assert text == last.get(row.pk, text)
        assert row.pk in last or not text.startswith("written")


def test_payloads_are_those_that_were_written_last():
    """The swap takes the payload from the row as it is, so a mixed value cannot come about."""
    rows = notes(10)
    rotate_master_key("default")
    rotation.run("default")
    assert all(Note.objects.get(pk=row.pk).text for row in rows)
    assert len({stored(row, "text") for row in rows}) == 10
    assert numbers_of(rotation.run("default")) == (0, 0, 0)


def test_acts_wait_for_who_writes():
    """On SQLite, who has read in a transaction cannot wait there for its one lock."""
    run = rotation.start("default")
    writing = threading.Event()

    def write():
        with transaction.atomic():
            Note.objects.create(text="a", data=None)
            writing.set()
            time.sleep(0.5)

    def act():
        assert writing.wait(10)
        return [str(each(run).state) for each in (rotation.pause, rotation.resume)]

    assert at_once(write, act)[1] == ["paused", "running"]


def test_a_connection_that_is_lost_where_columns_are_looked_up(monkeypatch):
    from envelope_fields.census import columns

    notes(5)
    rotate_master_key("default")
    located, lost = columns.located, [OperationalError(2006, "Server has gone away")]

    def looks(*args):
        if lost:
            raise lost.pop()
        return located(*args)

    run = rotation.start("default")
    monkeypatch.setattr(columns, "located", looks)
    assert rotation.run(run).state == RotationState.COMPLETED
    assert lost == []
