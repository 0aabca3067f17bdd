"""Whatever statement a rotation is ended at, in whatever way: it is run again, and finishes.

Each way of ending it takes every 24th statement, and another one to begin with; at full size, every
third.
"""

import gc

import pytest
from django.db import OperationalError, connections
from django.db.models import Sum

from envelope_fields import rotation
from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.models import MasterKey, RotationRange, RotationRun, RotationState
from envelope_fields.rotation import Limits
from tests import garbage
from tests.models import Note, keyed
from tests.rotation import left
from tests.sizes import size

pytestmark = [
    pytest.mark.any_django,
    pytest.mark.long,
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
]


@pytest.fixture(autouse=True)
def _garbage():
    gc.collect()  # that of earlier tests
    with garbage.collected():
        yield


class Killed(BaseException):
    """What ends a process, as far as its own code can tell."""


class Statements:
    """Counts the statements of both databases, and ends the work at one of them."""

    def __init__(self, at, how):
        self.at, self.how, self.seen = at, how, 0

    def __call__(self, execute, sql, params, many, context):
        self.seen += 1
        if self.seen != self.at:
            return execute(sql, params, many, context)
        if self.how == "refused":
            raise OperationalError("could not write: the disk is full")
        if self.how == "killed after":
            execute(sql, params, many, context)
        raise Killed


@pytest.mark.parametrize(
    ("kind", "how", "first"),
    [
        ("rewrap", "refused", size(1, 1)),
        ("rewrap", "killed before", size(5, 2)),
        ("rewrap", "killed after", size(9, 3)),
        ("re_encrypt", "killed after", size(11, 1)),
    ],
)
def test_at_any_statement(kind, how, first, monkeypatch):
    monkeypatch.setattr("envelope_fields.census.columns.apps", keyed.only(Note))
    monkeypatch.setattr("envelope_fields.jobs.ranges.SMALLEST", 2)
    for each in connections.all():
        # PostgreSQL's own cursor would not be noticed.
        monkeypatch.setattr(each, "force_debug_cursor", True)
    notes = Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(3)])
    for at in range(first, 1000, size(24, 3)):
        rotate_master_key("default")
        moved_before = moved_by_all_runs()
        statements = Statements(at, how)
        ended = ended_at(statements, kind)
        assert [note.text for note in Note.objects.order_by("pk")] == ["0", "1", "2"]
        key = MasterKey.objects.get(alias="default")
        under_way = rotation.active_run(key)
        if not ended:
            break
        run = rotation.run(under_way or rotation.start(key, kind=kind))
        assert run.state == RotationState.COMPLETED
        assert left("default") == 0
        assert moved_by_all_runs() - moved_before == 3
        assert [note.text for note in Note.objects.order_by("pk")] == ["0", "1", "2"]
    assert not ended
    assert at > 30
    assert not RotationRun.objects.filter(keys__active_key__isnull=False).exists()
    assert len(notes) == 3


def moved_by_all_runs():
    return RotationRange.objects.aggregate(moved=Sum("moved"))["moved"] or 0


def ended_at(statements, kind):
    """Rotate, and return whether it was ended."""
    wrappers = [each.execute_wrapper(statements) for each in connections.all()]
    for wrapper in wrappers:
        wrapper.__enter__()
    try:
        rotation.run("default", kind=kind, limits=Limits(batch_size=2, tries=2))
    except (OperationalError, Killed, rotation.CensusFailed):
        return True
    except Exception as error:
        if not isinstance(error.__cause__, OperationalError):
            raise
        return True
    finally:
        for wrapper in reversed(wrappers):
            wrapper.__exit__(None, None, None)
        garbage.collect()
        connections.close_all()  # as the end of a process does
    return statements.seen >= statements.at
