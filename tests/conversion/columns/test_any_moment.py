"""A step that is killed at any moment, or done by two operators, while others write."""

import os
import threading
from contextlib import contextmanager

import pytest
from django.core.management import CommandError
from django.db import connections
from django.db.models import F

from envelope_fields.conversion.column_phases import moving_field, phase_now
from envelope_fields.conversion.counts import Counted, counted
from envelope_fields.models import ColumnPhase, RotationRange, RotationRun, RotationState
from tests.at_once import at_once
from tests.conversion.columns.test_steps import LABEL, convert
from tests.models import moving
from tests.models.moving import OldVisit, Visit
from tests.models.tables import tables_of
from tests.other_process import OtherProcess
from tests.waiting import until

pytestmark = [
    pytest.mark.any_django,
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
]
tables = tables_of(moving.apps, "other")

ROWS = 60


@pytest.fixture
def rows():
    OldVisit.objects.bulk_create(OldVisit(report=f"report {number}") for number in range(ROWS))
    yield list(OldVisit.objects.order_by("pk").values_list("pk", flat=True))
    OldVisit.objects.all().delete()


@contextmanager
def killed(to, when):
    """Bring the field to a phase in another process, and kill that at some moment."""
    other = OtherProcess()
    told = "__import__('tests.conversion.columns.child', fromlist=['x']).convert"
    other.tell(f"{told}({LABEL!r}, {to!r})")
    until(when)
    other.process.kill()
    with other:  # which waits for its end
        yield


def met(kind, name):
    """Return how many values ranges of runs of a kind have met."""
    found = RotationRange.objects.filter(column__run__kind=kind)
    return sum(found.values_list(name, flat=True))


# The phase that is wanted, the run that is killed, and what says how far it is.
MOMENTS = {
    "filling": ("fill", "moved"),
    "verified": ("compare", "kept"),
    "encrypted": ("compare", "kept"),
    "only": ("empty", "moved"),
}


@pytest.mark.parametrize("to", MOMENTS)
def test_sigkill(rows, to):
    kind, name = MOMENTS[to]
    before = list(ColumnPhase)[list(ColumnPhase).index(to) - 1]
    assert convert("encrypted" if to == "only" else before)[1] == ""
    done = met(kind, name)
    with killed(to, lambda: met(kind, name) >= done + 10):
        run = RotationRun.objects.filter(kind=kind).latest("created_at")
        assert run.state == RotationState.RUNNING
    _, error = convert(to)
    assert error == ""
    run.refresh_from_db()
    assert run.state == RotationState.COMPLETED
    assert phase_now(moving_field(LABEL)) == to
    if to != "only":
        assert convert("encrypted")[1] == ""
    assert [row.report for row in Visit.objects.order_by("pk")] == [
        f"report {number}" for number in range(ROWS)
    ]
    left = counted(moving_field(LABEL))
    assert left == (Counted(0, ROWS, ROWS) if to == "only" else Counted(ROWS, ROWS, 0))


def test_two_operators(rows):
    """The one who is slower goes on from where the other one is, or is told."""
    found = at_once(lambda: convert("encrypted"), lambda: convert("encrypted"))
    for each in found:
        assert not isinstance(each, Exception)
        assert each[1] == "" or "another operator" in each[1] or "is completed" in each[1], each
    assert convert("encrypted")[1] == ""
    assert counted(moving_field(LABEL)) == Counted(ROWS, ROWS, 0)


def test_compare_that_goes_on_after_the_end_writes_nothing(rows, monkeypatch):
    """Its operator was overtaken, and rows that were written since have no old value any more."""
    convert("verified")
    from envelope_fields.conversion import moving as jobs

    process, field = jobs.Compare.process, moving_field(LABEL)
    overtaken = []

    def slow(self, stored):
        if not overtaken:
            overtaken.append(True)
            monkeypatch.setattr(jobs.Compare, "process", process)
            assert convert("encrypted")[1] == ""
            assert convert("only")[1] == ""
            Visit.objects.filter(pk=rows[0]).update(report="written at the end")
        return process(self, stored)

    monkeypatch.setattr(jobs.Compare, "process", slow)
    with pytest.raises(Exception, match="another operator has changed it"):
        raise CommandError(convert("encrypted")[1] or "nothing")
    assert phase_now(field) == "only"
    assert Visit.objects.get(pk=rows[0]).report == "written at the end"
    assert [row.report for row in Visit.objects.order_by("pk")][1:] == [
        f"report {number}" for number in range(1, ROWS)
    ]


def test_writers_go_on(rows):
    """Through all phases, once back, and to the end: each row has what was written last."""
    last, stop, problems = {}, threading.Event(), []

    def write(mine):
        try:
            number = 0
            while not stop.is_set():
                pk, number = mine[number % len(mine)], number + 1
                text = f"{os.getpid()} {pk} {number}"
                if number % 2:
                    row = Visit.objects.get(pk=pk)
                    row.report = text
                    row.save()
                else:
                    Visit.objects.filter(pk=pk).update(report=text, ward=F("ward"))
                last[pk] = text
        except Exception as error:
            problems.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=[rows[each::2]]) for each in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        outcomes = [convert(to) for to in ("verified", "encrypted", "clear", "encrypted", "only")]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert [error for _, error in outcomes] == [""] * 5
    assert convert("only")[1] == ""
    assert {row.pk: row.report for row in Visit.objects.all()} == {
        pk: last.get(pk, f"report {rows.index(pk)}") for pk in rows
    }
    assert counted(moving_field(LABEL)) == Counted(0, ROWS, ROWS)
