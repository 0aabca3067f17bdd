"""A rotation that is ended at any moment, in any way, is taken up again and finishes."""

import signal
import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from envelope_fields import own_process, rotation
from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.models import MasterKey, RotationRun, RotationState
from envelope_fields.rotation import Limits
from envelope_fields.rotation.processes import work_in_processes
from envelope_fields.rotation.working import begun
from tests.child import command
from tests.models import Note
from tests.rotation import interrupted, left

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

ROWS = 200


@pytest.fixture
def notes():
    found = Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(ROWS)])
    rotate_master_key("default")
    return found


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def all_there():
    return sorted(int(text) for text in Note.objects.values_list("text", flat=True)) == list(
        range(ROWS)
    )


@pytest.mark.parametrize("moved", [1, 40, 150])
def test_sigkill(notes, moved):
    process = command("rewrap", "--batch-size", "2", "--sleep", "0.005")
    with process:
        until(lambda: left("default") <= ROWS - moved)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 0 < left("default") < ROWS
    run = RotationRun.objects.get()
    assert run.state == RotationState.RUNNING
    assert all_there()

    call_command("rewrap", verbosity=0)

    run.refresh_from_db()
    assert run.state == RotationState.COMPLETED
    assert RotationRun.objects.count() == 1
    assert left("default") == 0
    assert all_there()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_end(notes, number):
    process = command("rewrap", "--batch-size", "2", "--sleep", "0.01")
    with process:
        until(lambda: left("default") < ROWS)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "is paused" in said
    assert RotationRun.objects.get().state == RotationState.PAUSED
    call_command("rewrap", verbosity=0)
    assert (left("default"), all_there()) == (0, True)


def test_several_processes(notes, monkeypatch):
    monkeypatch.setattr("envelope_fields.rotation.ranges.SMALLEST", 20)
    call_command("rewrap", workers=2, verbosity=0)
    run = RotationRun.objects.get()
    assert run.state == RotationState.COMPLETED
    assert run.places.get().ranges.count() == ROWS // 20
    assert (left("default"), all_there()) == (0, True)


def test_several_processes_of_which_one_is_killed(notes, monkeypatch):
    monkeypatch.setattr("envelope_fields.rotation.ranges.SMALLEST", 10)
    made, pool, killed = [], own_process.pool, []

    def remembered(workers):
        made.append(pool(workers))
        return made[-1]

    def look(now):
        if not killed and left("default") < ROWS - 20:
            killed.append(next(iter(made[-1]._processes.values())))
            killed[0].kill()

    monkeypatch.setattr(own_process, "pool", remembered)
    run = rotation.start("default", limits=Limits(batch_size=2, sleep=0.01))
    work_in_processes(run, 2, look)
    assert killed
    assert len(made) == 2
    run.refresh_from_db()
    assert run.state == RotationState.COMPLETED
    assert (left("default"), all_there()) == (0, True)


def children_of(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in listed]


def is_there(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # whose parent is gone, and nobody has asked what became of it


@pytest.fixture
def shared_out(notes):
    """A run in ranges that are small, which two processes share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("envelope_fields.rotation.ranges.SMALLEST", 50)
        run = rotation.start("default", limits=Limits(batch_size=2, sleep=0.02))
        begun(run)
    with command("rewrap", "--workers", "2") as process:
        until(lambda: left("default") < ROWS - 10)
        children = children_of(process)
        assert len(children) == 2
        yield process, children
        process.kill()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="it asks Linux for children")
class TestProcesses:
    def test_they_end_with_their_parent(self, shared_out):
        process, children = shared_out
        process.kill()
        process.wait(timeout=30)
        until(lambda: not any(map(is_there, children)))
        assert left("default") > 0
        call_command("rewrap", verbosity=0)
        assert (left("default"), all_there()) == (0, True)
        assert RotationRun.objects.get().state == RotationState.COMPLETED

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_polite_end_is_one_of_all(self, shared_out, number):
        process, children = shared_out
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "is paused" in said
        assert not any(map(is_there, children))
        # Nobody has gone on to the end of a range.
        assert left("default") > ROWS // 2
        assert RotationRun.objects.get().state == RotationState.PAUSED
        call_command("rewrap", workers=2, verbosity=0)
        assert (left("default"), all_there()) == (0, True)


def test_a_full_disk(notes, monkeypatch):
    """The database refuses a write in the middle: what was moved stays, and the rest can follow."""
    from envelope_fields.rotation.batches import Batches

    swap, swaps = Batches._swap_once, []

    def full(self, *args, **kwargs):
        swaps.append(1)
        if len(swaps) == 5:
            raise OperationalError("could not extend file: No space left on device\nHINT: Check it")
        return swap(self, *args, **kwargs)

    monkeypatch.setattr(Batches, "_swap_once", full)
    with pytest.raises(OperationalError):
        rotation.run("default", limits=Limits(batch_size=10))
    run = RotationRun.objects.get()
    assert (run.state, left("default")) == (RotationState.FAILED, ROWS - 40)
    assert run.error == "OperationalError: could not extend file: No space left on device"
    call_command("rewrap", verbosity=0)
    assert (left("default"), all_there()) == (0, True)


def test_a_real_full_disk_on_sqlite(notes):
    if connection.vendor != "sqlite":
        pytest.skip("the limit is one of SQLite")
    before = left("default")
    with connection.cursor() as cursor:
        pages = cursor.execute("PRAGMA page_count").fetchone()[0]
        cursor.execute(f"PRAGMA max_page_count = {pages}")
    Note.objects.filter(pk=notes[0].pk).update(title="x")
    try:
        call_command("rewrap", verbosity=0)
    except CommandError:
        pass
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA max_page_count = 1073741823")
    assert left("default") <= before
    call_command("rewrap", verbosity=0)
    assert (left("default"), all_there()) == (0, True)


def test_the_run_that_a_killed_process_left_can_be_cancelled(notes):
    run = interrupted(rotation.start("default", limits=Limits(batch_size=10)))
    rotation.cancel(run)
    assert rotation.active_run(MasterKey.objects.get(alias="default")) is None
    assert rotation.run("default").state == RotationState.COMPLETED
