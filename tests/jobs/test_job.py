"""Any online work over the rows of a column: what a job is given, and what a run needs not know."""

from collections import Counter

import pytest

from envelope_fields import rotation
from envelope_fields.census.columns import encrypted_columns, tables_of
from envelope_fields.jobs import job
from envelope_fields.jobs.job import Change, Job, Outcome, Scope
from envelope_fields.jobs.runs import keys_of
from envelope_fields.jobs.statements import statements
from envelope_fields.jobs.throttle import Limits
from envelope_fields.jobs.work import work
from envelope_fields.models import AuditEvent, RotationRun, RotationState
from tests.models import Note
from tests.rotation import numbers_of, put
from tests.stored import stored

pytestmark = pytest.mark.django_db(databases="__all__")

ROWS = 7
VALUE = b"plain text from before " * 5


class Upper(Job):
    """Writes values in capital letters, and refuses one."""

    replaces_payload = True
    reads_payloads = True

    def __init__(self, column):
        self._statements = statements(column)

    def process(self, batch):
        outcome = Outcome()
        values = self._statements.values([each.key for each in batch])
        for each in batch:
            value = bytes(values[each.key])
            if value.endswith(b"!"):
                outcome.fail(each, ValueError("it is loud already"))
            elif value.isupper():
                outcome.kept += 1
            else:
                outcome.changes.append(Change(each.key, each.head, value.upper()))
        return outcome


class OfNotes(Scope):
    """Every value of one column, whatever it is: no key version is asked for."""

    def columns(self):
        declared = encrypted_columns("default")
        return tables_of(each for each in declared if str(each) == "tests.Note.text")

    def version_ids(self, column):
        return None

    def count(self, column):
        return Counter({None: Note.objects.count()})

    def count_remaining(self, column):
        return Counter()

    def sees_only_by_looking(self, column):
        return False

    def job(self, column):
        return Upper(column)


@pytest.fixture
def notes(monkeypatch):
    monkeypatch.setattr(job, "_scopes", {**job._scopes, "upper": lambda run: OfNotes()})
    notes = [Note.objects.create(text="x", data=None) for _ in range(ROWS)]
    for note in notes:
        put(note, "text", VALUE)
    return notes


def new_run():
    return RotationRun.objects.create(
        kind="upper", limits=Limits(batch_size=3).as_json(), actor_type="application"
    )


def test_a_run_about_no_key(notes):
    put(notes[2], "text", VALUE + b"!")
    put(notes[4], "text", VALUE.upper())
    run = work(new_run())
    assert (run.state, run.pass_number, keys_of(run)) == (RotationState.COMPLETED, 1, [])
    assert numbers_of(run) == (ROWS, ROWS - 2, 1)
    assert {stored(note, "text") for note in notes} == {VALUE.upper(), VALUE + b"!"}
    failure = rotation.failures(run).get()
    assert (failure.row, failure.cause) == (str(notes[2].pk), "ValueError")
    event = AuditEvent.objects.get(action="complete_rotation")
    assert (event.key_id, event.after["keys"], event.after["moved"]) == (None, [], ROWS - 2)


def test_it_is_paused_and_resumed(notes):
    run = new_run()
    work(run, lambda result: rotation.pause(run))
    assert rotation.progress(run).remaining == ROWS - 3
    assert work(rotation.resume(run)).state == RotationState.COMPLETED
    assert {stored(note, "text") for note in notes} == {VALUE.upper()}


def test_what_another_writes_meanwhile_stays(notes, monkeypatch):
    process, done = Upper.process, []

    def interrupted(self, batch):
        outcome = process(self, batch)
        if not done:
            done.append(True)
            put(notes[0], "text", b"written meanwhile " * 6)
        return outcome

    monkeypatch.setattr(Upper, "process", interrupted)
    run = work(new_run())
    assert rotation.progress(run).skipped == 1
    assert stored(notes[0], "text") == b"written meanwhile " * 6
