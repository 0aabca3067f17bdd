"""A rotation keeps to what it is told: a rate, rests, and how long it waits and works at a time."""

import math
import threading
import time

import pytest
from django.db import connection

from envelope_fields import rotation
from envelope_fields.census.columns import encrypted_columns
from envelope_fields.jobs.batches import Batches
from envelope_fields.jobs.throttle import NICE_RATIO, BatchSize, RateLimit
from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.models import RotationState
from envelope_fields.rotation import Limits
from envelope_fields.rotation.rewrap import Rewrap
from tests.at_once import at_once
from tests.models import Note, keyed
from tests.rotation import left, numbers_of

pytestmark = pytest.mark.django_db(databases="__all__")


def notes(count):
    return Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(count)])


@pytest.fixture(autouse=True)
def only_notes(monkeypatch):
    monkeypatch.setattr("envelope_fields.census.columns.apps", keyed.only(Note))


@pytest.fixture
def clock(monkeypatch):
    """What `monotonic` returns, in a list: it stands still until a test changes it."""
    now = [0.0]
    monkeypatch.setattr("envelope_fields.jobs.throttle.monotonic", lambda: now[0])
    return now


def test_rests(clock):
    rests = []
    pace = RateLimit(Limits(max_rate=100), rests.append)
    pace.after(50)
    RateLimit(Limits(sleep=3), rests.append).after(1)
    RateLimit(Limits(sleep=3, max_rate=1), rests.append).after(10)
    RateLimit(Limits(), rests.append).after(1000)
    pace.after(0)
    clock[0] += 0.25
    pace.after(50)
    assert rests == [0.5, 3, 10, 0.25]


def test_rests_by_how_long_a_batch_took(clock):
    rests = []
    for limits in (Limits(nice_ratio=10), Limits(nice_ratio=10, sleep=30), Limits(nice_ratio=0)):
        throttle = RateLimit(limits, rests.append)
        clock[0] += 0.5
        throttle.after(1)
    assert rests == [5, 30]


def test_runs_that_are_not_in_a_hurry_rest_unless_they_are_told_otherwise():
    assert Limits().nicely() == Limits(nice_ratio=NICE_RATIO)
    assert Limits(nice_ratio=0).nicely() == Limits(nice_ratio=0)
    assert Limits(max_rate=1).nice_ratio is None  # of a run that was made before


@pytest.mark.parametrize(
    ("limits", "rows"),
    [
        (Limits(), 2000),
        (Limits(max_rate=100), 100),
        (Limits(max_rate=0.5), 1),
        (Limits(max_rate=1e6), 2000),
        (Limits(batch_size=10, max_rate=100), 10),
    ],
)
def test_a_batch_is_no_more_than_a_second_has(limits, rows):
    """A low rate is one of small batches, not of large ones with long rests."""
    size = BatchSize(limits)
    assert size.rows == rows
    size.shrink()
    for _ in range(3):
        size.took(0.001)
    assert size.rows == rows


def test_batches_stay_below_half_of_their_time():
    size = BatchSize(Limits(batch_size=1000, batch_seconds=10))
    seen = []
    for seconds in (6, 6, 3, 1):
        size.took(seconds)
        seen.append(size.rows)
    assert seen == [500, 250, 250, 500]


def test_a_batch_that_was_in_vain_is_made_smaller(monkeypatch):
    notes(16)
    rotate_master_key("default")
    written = []

    def write(job, ask, changes):
        written.append(len(changes))
        return ask.swap(changes, replaces_payload=False)

    monkeypatch.setattr(Rewrap, "write", write)
    monkeypatch.setattr(Rewrap, "may_still_write", lambda *_: written[-1] <= 4)
    done = rotation.run("default")
    assert (done.state, numbers_of(done)) == (RotationState.COMPLETED, (16, 16, 0))
    assert written == [16, 8, 4, 4, 8, 4, 4]


@pytest.mark.parametrize(("seconds", "rows"), [(1, 1000), (0, 2000), (60, 2000)])
def test_batches_stay_below_half_of_what_processes_go_by(settings, seconds, rows):
    """Where a transaction sees the past, none that takes longer is committed."""
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": seconds}
    column = next(encrypted_columns("default"))
    size = Batches(column, Rewrap(column, about_one_key=True), Limits())._size
    size.took(0.6)
    assert size.rows == rows


@pytest.mark.parametrize(
    "wrong",
    [{"batch_seconds": 0}, {"lock_seconds": 0}, {"tries": 0}, {"max_rate": -1}, {"sleep": -1},
     {"batch_size": 4097}, {"nice_ratio": -0.1}, {"nice_ratio": 101}, {"nice_ratio": math.nan},
     {"max_rate": math.nan}, {"sleep": math.nan}, {"sleep": math.inf}, {"lock_seconds": math.nan},
     {"batch_seconds": math.inf}],
)  # fmt: skip
def test_limits_that_cannot_be_meant(wrong):
    with pytest.raises(ValueError, match=r"must"):
        Limits(**wrong)


def test_a_rate():
    notes(30)
    rotate_master_key("default")
    began = time.monotonic()
    rotation.run("default", limits=Limits(max_rate=40))
    assert time.monotonic() - began > 0.7
    assert left("default") == 0


def test_workers_keep_to_a_rate_together():
    assert Limits(max_rate=100).shared_by(4) == Limits(max_rate=25)
    assert Limits(sleep=1).shared_by(4) == Limits(sleep=1)


def test_limits_that_change_meanwhile():
    notes(30)
    rotate_master_key("default")
    run = rotation.start("default", limits=Limits(batch_size=10))
    sizes = []

    def watch(tally):
        sizes.append(tally.values)
        if len(sizes) == 1:
            rotation.limit(run, Limits(batch_size=4))

    run = rotation.run(run, watch=watch)
    assert sizes == [10, 4, 4, 4, 4, 4]
    assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (30, 30, 0))


SLOWLY = {
    "postgresql": [
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.2); RETURN new; END $$",
        "CREATE TRIGGER slowly BEFORE UPDATE ON tests_note FOR EACH ROW EXECUTE FUNCTION slowly()",
    ],
    "mysql": ["CREATE TRIGGER slowly BEFORE UPDATE ON tests_note FOR EACH ROW DO SLEEP(0.2)"],
}
AT_ONCE = {"postgresql": "DROP FUNCTION slowly CASCADE", "mysql": "DROP TRIGGER slowly"}


class TestServers:
    pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

    @pytest.fixture(autouse=True)
    def servers(self):
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has one lock, and no timeout of statements")

    def test_a_batch_that_takes_too_long_is_made_smaller(self):
        notes(8)
        rotate_master_key("default")
        batches = []
        with connection.cursor() as cursor:
            for statement in SLOWLY[connection.vendor]:
                cursor.execute(statement)
        try:
            # Eight rows take 1.6 seconds.
            run = rotation.run(
                "default", limits=Limits(batch_size=8, batch_seconds=1), watch=batches.append
            )
        finally:
            with connection.cursor() as cursor:
                cursor.execute(AT_ONCE[connection.vendor])
        assert (run.state, run.pass_number, numbers_of(run)) == (
            RotationState.COMPLETED,
            1,
            (8, 8, 0),
        )
        assert [tally.skipped for tally in batches] == [0] * len(batches)

    def test_a_table_that_nobody_may_write(self):
        """As while an index is made: it is waited for, and no longer than it is allowed."""
        notes(8)
        rotate_master_key("default")
        locked, release = threading.Event(), threading.Event()

        def hold():
            with connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.execute("BEGIN; LOCK TABLE tests_note IN SHARE MODE")
                else:
                    cursor.execute("LOCK TABLES tests_note READ")
                locked.set()
                release.wait(60)
                cursor.execute("ROLLBACK" if connection.vendor == "postgresql" else "UNLOCK TABLES")

        def turn():
            locked.wait(30)
            try:
                return rotation.run("default", limits=Limits(lock_seconds=1, tries=2))
            finally:
                release.set()

        _, run = at_once(hold, turn)
        assert run.state == RotationState.FAILED
        assert "8 values stayed" in run.error
        assert rotation.run("default").state == RotationState.COMPLETED
