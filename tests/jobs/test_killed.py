"""A rotation that is ended at any moment, in any way, is taken up again and finishes."""

import signal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from envelope_fields import rotation
from envelope_fields.jobs.tasks import work_in_processes
from envelope_fields.jobs.work import begun
from envelope_fields.jobs.workers import process
from envelope_fields.models import MasterKey, RotationRun, RotationState
from envelope_fields.rotation import Limits
from tests.child import Command
from tests.rotation import are_all_there, interrupted, left, notes_left, numbered_notes
from tests.sizes import size
from tests.waiting import until

pytestmark = [
    pytest.mark.any_django,
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
]

ROWS = 200


@pytest.fixture
def notes():
    return numbered_notes(ROWS)


@pytest.mark.long
@pytest.mark.parametrize("moved", size([40], [1, 5, 10, 20, 40, 60, 80, 100, 120, 150, 180]))
def test_sigkill(notes, moved):
    process = Command("rewrap", "--batch-size", "2", "--sleep", "0.005")
    with process:
        until(lambda: notes_left() <= ROWS - moved)
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 0 < left("default") < ROWS
    run = RotationRun.objects.get()
    assert run.state == RotationState.RUNNING
    assert are_all_there(ROWS)

    call_command("rewrap", verbosity=0)

    run.refresh_from_db()
    assert run.state == RotationState.COMPLETED
    assert RotationRun.objects.count() == 1
    assert left("default") == 0
    assert are_all_there(ROWS)


@pytest.mark.any_database
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_end(notes, number):
    process = Command("rewrap", "--batch-size", "2", "--sleep", "0.01")
    with process:
        until(lambda: notes_left() < ROWS)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "is paused" in said
    assert RotationRun.objects.get().state == RotationState.PAUSED
    call_command("rewrap", verbosity=0)
    assert (left("default"), are_all_there(ROWS)) == (0, True)


def test_an_end_in_the_middle_of_a_query(notes, monkeypatch):
    """What is being read must not be in the way of writing down that the run is paused."""
    from envelope_fields.jobs.statements import Statements

    asked = []

    def heads(self, *arguments):
        asked.append(self)
        cursor = self.connection.cursor()  # not closed yet, as in the middle of Django's queries
        cursor.execute(f"SELECT {self.key_list} FROM {self.table}", [])
        raise KeyboardInterrupt

    monkeypatch.setattr(Statements, "heads", heads)
    if connection.vendor == "sqlite":
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 1)
        connection.close()
    with pytest.raises(CommandError, match="is paused"):
        call_command("rewrap", verbosity=0)
    assert len(asked) == 1
    assert RotationRun.objects.get().state == RotationState.PAUSED


def test_several_processes(notes, monkeypatch):
    monkeypatch.setattr("envelope_fields.jobs.ranges.SMALLEST", 20)
    call_command("rewrap", workers=2, verbosity=0)
    run = RotationRun.objects.get()
    assert run.state == RotationState.COMPLETED
    assert run.columns.get().ranges.count() == ROWS // 20
    assert (left("default"), are_all_there(ROWS)) == (0, True)


def test_several_processes_of_which_one_is_killed(notes, monkeypatch):
    monkeypatch.setattr("envelope_fields.jobs.ranges.SMALLEST", 10)
    made, pool, killed = [], process.pool, []

    def remembered(workers):
        made.append(pool(workers))
        return made[-1]

    def look(now):
        if not killed and notes_left() < ROWS - 20:
            killed.append(next(iter(made[-1]._processes.values())))
            killed[0].kill()

    monkeypatch.setattr(process, "pool", remembered)
    run = rotation.start("default", limits=Limits(batch_size=2, sleep=0.01))
    work_in_processes(run, 2, look)
    assert killed
    assert len(made) == 2
    run.refresh_from_db()
    assert run.state == RotationState.COMPLETED
    assert (left("default"), are_all_there(ROWS)) == (0, True)


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
    """A run in ranges that are small, which two processes share; to its end they take long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("envelope_fields.jobs.ranges.SMALLEST", 50)
        run = rotation.start("default", limits=Limits(batch_size=2, sleep=0.5))
        begun(run)
    with Command("rewrap", "--workers", "2") as process:
        until(lambda: notes_left() < ROWS)
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
        rotation.limit(RotationRun.objects.get(), Limits())
        call_command("rewrap", verbosity=0)
        assert (left("default"), are_all_there(ROWS)) == (0, True)
        assert RotationRun.objects.get().state == RotationState.COMPLETED

    @pytest.mark.any_database
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
        rotation.limit(RotationRun.objects.get(), Limits())
        call_command("rewrap", workers=2, verbosity=0)
        assert (left("default"), are_all_there(ROWS)) == (0, True)


def test_the_run_that_a_killed_process_left_can_be_cancelled(notes):
    run = interrupted(rotation.start("default", limits=Limits(batch_size=10)))
    rotation.cancel(run)
    assert rotation.active_run(MasterKey.objects.get(alias="default")) is None
    assert rotation.run("default").state == RotationState.COMPLETED
