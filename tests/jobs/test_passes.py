"""A run passes over its columns until the census, or a pass that skips nothing, says it is done."""

from contextlib import contextmanager
from datetime import timedelta
from itertools import product

import pytest
from django.db import connection
from django.utils import timezone

from envelope_fields import databases, keyring, rotation
from envelope_fields.census.columns import encrypted_columns
from envelope_fields.crypto.envelope import encrypt
from envelope_fields.jobs import ranges
from envelope_fields.jobs.batches import Batches
from envelope_fields.jobs.work import begun, move_range
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import MasterKey, RotationRange, RotationState
from envelope_fields.rotation import Limits
from envelope_fields.rotation.re_encrypt import ReEncrypt
from envelope_fields.rotation.rewrap import Rewrap
from tests.at_once import at_once
from tests.models import Note, Renamed, TenantNote, UuidKeyed
from tests.rotation import left, numbers_of, put
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(databases="__all__")

SMALL = Limits(batch_size=2)


def notes(count):
    return Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(count)])


def spoil(row):
    """Let a value not open any more."""
    value = stored(row, "text")
    put(row, "text", value[:40] + bytes(41) + value[81:])


def late_writer(model=Note):
    """Return what writes a text under the version that is current now, whatever comes later."""
    field = model._meta.get_field("text")
    key = keyring.values.wrapping_key("default", "default")
    return lambda row, text: put(row, "text", encrypt(key, text.encode(), field.contexts[-1]))


class Killed(BaseException):
    pass


def test_times_are_by_the_clock_of_the_keys_database(monkeypatch):
    """Machines differ, and states are compared with when a run ended, by that clock."""
    notes(3)
    rotate_master_key("default")
    an_hour = timedelta(hours=1)
    monkeypatch.setattr("envelope_fields.databases.now", lambda: timezone.now() + an_hour)
    before = databases.now()
    run = rotation.run("default")
    times = [run.created_at, run.resumed_at, run.heartbeat_at, run.finished_at]
    assert all(before <= each <= databases.now() for each in times)


class TestValuesThatNoHeaderTellsOf:
    """Under the current version, and yet not where they belong: only looking at them shows it."""

    def test_others_write_meanwhile(self):
        rows = [Renamed.objects.create(text=f"{n}") for n in range(6)]
        write_late = late_writer(Renamed)
        for row in rows[:3]:
            write_late(row, "before the rename")

        def write(tally):
            if Renamed.objects.count() < 30:
                Renamed.objects.create(text="new")

        run = rotation.run("default", limits=SMALL, watch=write)
        assert (run.state, run.pass_number, run.error) == (RotationState.COMPLETED, 1, "")
        assert numbers_of(run)[1:] == (3, 0)

    def test_tenants_write_meanwhile(self):
        for alias in ("one", "two"):
            create_master_key(alias)
        rows = [TenantNote.objects.create(tenant="one", text=f"{n}", data=None) for n in range(6)]
        TenantNote.objects.filter(pk=rows[1].pk).update(tenant="two")

        def write(tally):
            TenantNote.objects.create(tenant="one", text="new", data=None)

        run = rotation.run("one", kind="re_encrypt", limits=SMALL, watch=write)
        assert (run.state, run.pass_number) == (RotationState.COMPLETED, 1)
        assert numbers_of(run)[1:] == (1, 0)

    def test_what_was_skipped_is_looked_at_again(self, monkeypatch):
        from envelope_fields.rotation.rewrap import Rewrap

        row = Renamed.objects.create(text="x")
        write_late = late_writer(Renamed)
        write_late(row, "before the rename")
        moves, done = Rewrap.process, []

        def interrupted(self, values):
            found = moves(self, values)
            if not done:
                done.append(True)
                write_late(row, "still by the old name")
            return found

        monkeypatch.setattr(Rewrap, "process", interrupted)
        run = rotation.run("default")
        assert (run.state, run.pass_number) == (RotationState.COMPLETED, 2)
        assert numbers_of(run)[1:] == (1, 0)
        assert Renamed.objects.get().text == "still by the old name"


class TestPasses:
    def test_only_what_is_left_is_gone_over_again(self):
        first = notes(4)
        UuidKeyed.objects.create(text="x")
        spoil(first[2])
        write_late = late_writer(UuidKeyed)
        rotate_master_key("default")
        done = []

        def write(tally):
            done.append(tally)
            if len(done) == 3:  # two batches of notes, one of the other
                write_late(UuidKeyed.objects.get(), "late")

        run = rotation.run("default", limits=SMALL, watch=write)
        assert (run.state, run.pass_number) == (RotationState.COMPLETED, 2)
        swept = RotationRange.objects.filter(pass_number=2).values_list("column__model", flat=True)
        assert list(swept) == ["tests.UuidKeyed"]
        # What failed in the first pass was not tried again, and is reported all the same.
        assert numbers_of(run) == (5, 5, 1)
        assert [failure.row for failure in rotation.failures(run)] == [str(first[2].pk)]

    def test_failures_of_one_field_do_not_hide_what_is_left_of_another(self):
        spoilt = notes(2)
        for row in spoilt:
            spoil(row)
        other = UuidKeyed.objects.create(text="x")
        write_late = late_writer(UuidKeyed)
        rotate_master_key("default")
        done = []

        def write(tally):
            done.append(tally)
            if len(done) == 2:
                Note.objects.all()._raw_delete("default")  # without reading them
                write_late(other, "late")

        run = rotation.run("default", limits=SMALL, watch=write)
        assert run.state == RotationState.COMPLETED
        assert left("default") == 0
        assert UuidKeyed.objects.get().text == "late"

    def test_values_that_come_where_there_were_none(self):
        notes(2)
        write_late = late_writer(UuidKeyed)
        rotate_master_key("default")

        def write(tally):
            if not UuidKeyed.objects.exists():
                write_late(UuidKeyed.objects.create(text="x"), "late")

        run = rotation.run("default", watch=write)
        assert (run.state, run.pass_number, left("default")) == (RotationState.COMPLETED, 2, 0)

    def test_all_that_was_to_be_moved_is_gone_and_other_values_came(self):
        """A pass that moves nothing is no reason to give up: others may have moved the rows."""
        rows = notes(4)
        write_late = late_writer()
        rotate_master_key("default")
        run = begun(rotation.start("default", limits=SMALL))
        Note.objects.exclude(pk=rows[0].pk).delete()
        Note.objects.filter(pk=rows[0].pk).update(id=rows[-1].pk + 100)
        rows[0].pk += rows[-1].pk + 99
        write_late(Note.objects.get(), "beyond the last range")
        run = rotation.run(run)
        assert (run.state, run.pass_number, left("default")) == (RotationState.COMPLETED, 2, 0)

    @pytest.mark.parametrize("number", [-1000, 1000])
    def test_rows_that_are_added_on_either_side(self, number):
        rows = notes(6)
        write_late = late_writer()
        rotate_master_key("default")
        middle = rows[3].pk

        def write(tally):
            if Note.objects.count() == 6:
                write_late(Note.objects.create(pk=middle + number, text="x", data=None), "late")

        run = rotation.run("default", limits=SMALL, watch=write)
        assert (run.state, left("default")) == (RotationState.COMPLETED, 0)
        assert Note.objects.get(pk=middle + number).text == "late"

    def test_primary_keys_that_change(self):
        rows = notes(8)
        rotate_master_key("default")
        done = []

        def renumber(tally):
            done.append(tally)
            if len(done) == 2:  # one that is ahead goes behind, one that is behind goes ahead
                Note.objects.filter(pk=rows[6].pk).update(id=-1)
                Note.objects.filter(pk=rows[0].pk).update(id=rows[7].pk + 1)

        run = rotation.run("default", limits=SMALL, watch=renumber)
        assert (run.state, left("default")) == (RotationState.COMPLETED, 0)
        assert sorted(int(note.text) for note in Note.objects.all()) == list(range(8))


class TestPlans:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr(ranges, "SMALLEST", 3)
        monkeypatch.setattr(ranges, "_AT_ONCE", 2)

    def are_contiguous(self, run):
        found = list(run.columns.get().ranges.order_by("number"))
        assert [each.number for each in found] == list(range(len(found)))
        assert [each.after for each in found] == ["", *(each.until for each in found[:-1])]
        return found

    def test_one_that_was_broken_off_goes_on_where_it_was(self, monkeypatch):
        rows = notes(30)
        rotate_master_key("default")
        run = rotation.start("default", limits=SMALL)
        add, added = ranges._add, []

        def break_off(cut):
            add(cut)
            added.append(cut)
            if len(added) == 2:
                raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(ranges, "_add", break_off)
            begun(run)
        assert RotationRange.objects.count() == 4
        # Cut anew, the ranges of the same numbers would end elsewhere.
        Note.objects.filter(pk__in=[row.pk for row in rows[1:5]]).delete()
        run = rotation.run(run)
        assert len(self.are_contiguous(run)) == 10
        assert (run.state, run.pass_number, left("default")) == (RotationState.COMPLETED, 1, 0)

    @pytest.mark.django_db(transaction=True, databases=["default", "other"])
    def test_many_plan_at_once(self):
        notes(40)
        rotate_master_key("default")
        run = rotation.start("default", limits=SMALL)
        outcomes = at_once(*[lambda: begun(run)] * 4)
        assert not [each for each in outcomes if isinstance(each, Exception)], outcomes
        assert run.columns.count() == 1
        assert len(self.are_contiguous(run)) == 14
        assert rotation.run(run).state == RotationState.COMPLETED
        assert numbers_of(run) == (40, 40, 0)


class TestCounts:
    """A range that is gone through twice, also at the same time, is told of once."""

    def test_by_two_at_once(self):
        rows = notes(6)
        spoil(rows[1])
        spoil(rows[4])
        rotate_master_key("default")
        run = begun(rotation.start("default", limits=SMALL))
        first = ranges.claim(run)
        second = RotationRange.objects.select_related("column").get(pk=first.pk)
        met = []

        def meanwhile(tally):
            if not met:
                met.append(tally)
                move_range(second)

        move_range(first, meanwhile)
        assert RotationRange.objects.get().failed == 2
        assert RotationRange.objects.get().done_at is not None
        run = rotation.run(run)
        assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (6, 4, 2))
        assert rotation.failures(run).count() == 2

    def test_after_somebody_who_was_killed(self):
        rows = notes(6)
        spoil(rows[0])
        rotate_master_key("default")
        run = rotation.start("default", limits=SMALL)

        def kill(tally):
            raise Killed

        for _ in range(2):
            with pytest.raises(Killed):
                rotation.run(run, watch=kill)
        run = rotation.run(run)
        assert numbers_of(run) == (6, 5, 1)
        assert rotation.progress(run).remaining == 0


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_row_that_a_trigger_refuses_to_change_stops_nothing():
    """The database itself may refuse to change some rows."""
    rows = notes(9)
    rotate_master_key("default")
    table, bad = Note._meta.db_table, rows[4].pk
    with connection.cursor() as cursor:
        for statement in TRIGGERS[connection.vendor]:
            cursor.execute(statement.format(table=table, bad=bad))
    try:
        run = rotation.run("default", limits=Limits(batch_size=8))
    finally:
        with connection.cursor() as cursor:
            cursor.execute(REMOVAL[connection.vendor].format(table=table))
    assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (9, 8, 1))
    failure = rotation.failures(run).get()
    assert (failure.row, "secret" in failure.message) == (str(bad), False)
    assert failure.cause.endswith("Error")
    assert left("default") == 1
    key = MasterKey.objects.get(alias="default")
    assert rotation.active_run(key) is None


TRIGGERS = {
    "sqlite": [
        "CREATE TRIGGER refuse BEFORE UPDATE ON {table} WHEN old.id = {bad} "
        "BEGIN SELECT RAISE(ABORT, 'secret'); END"
    ],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'secret'; END $$",
        "CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW WHEN (old.id = {bad}) "
        "EXECUTE FUNCTION refuse()",
    ],
    "mysql": [
        "CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW "
        "IF old.id = {bad} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'secret'; END IF"
    ],
}
REMOVAL = {
    "sqlite": "DROP TRIGGER refuse",
    "postgresql": "DROP FUNCTION refuse CASCADE",
    "mysql": "DROP TRIGGER refuse",
}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("kind", ["rewrap", "re_encrypt"])
def test_rows_that_a_trigger_puts_back_end_with_a_report(kind):
    """Each pass would write them again, and the run never end."""
    rows = notes(9)
    rotate_master_key("default")
    table, archived = Note._meta.db_table, rows[4].pk
    with with_trigger(PUTS_BACK, table, archived):
        run = rotation.run("default", kind=kind, limits=Limits(batch_size=8))
    assert (run.state, run.pass_number) == (RotationState.COMPLETED, 2)
    failure = rotation.failures(run).get()
    assert (failure.row, failure.cause) == (str(archived), "ValuePutBack")
    assert "trigger" in failure.message
    assert left("default") == 1
    assert rotation.run("default").state == RotationState.COMPLETED
    assert left("default") == 0


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_rows_of_which_a_trigger_drops_what_is_written_are_told(subtests):
    rows = notes(5)
    rotate_master_key("default")
    for each in DROPS.get(connection.vendor, ()):  # MariaDB has no such triggers
        with subtests.test(each), with_trigger({connection.vendor: each}, "tests_note", rows[2].pk):
            run = rotation.run("default")
            assert run.state == RotationState.FAILED
            assert "1 value stayed" in run.error
            assert "trigger" in run.error


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_rows_beside_one_that_a_trigger_drops_are_counted(subtests):
    """The number of rows that an UPDATE gives has what is put back, and not what is dropped."""
    rows = notes(5)
    (column,) = [each for each in encrypted_columns("default") if str(each) == "tests.Note.text"]
    triggers = [*DROPS.get(connection.vendor, ()), PUTS_BACK[connection.vendor]]
    for each, kind in product(triggers, (Rewrap, ReEncrypt)):
        old = version_of(stored(rows[0], "text"))
        rotate_master_key("default")
        with subtests.test(each, kind=kind):
            with with_trigger({connection.vendor: each}, "tests_note", rows[2].pk):
                batches = Batches(column, kind(column), Limits(), looks_back=True)
                (result,) = batches.between([old], None, None)
            assert (result.moved, result.skipped, len(result.failed)) == (4, 0, 1)
            assert result.failed[0].stored.key == (rows[2].pk,)
        assert rotation.run("default").state == RotationState.COMPLETED


@contextmanager
def with_trigger(statements, table, row):
    """Have what these statements make on the table, about one row, within the block."""
    with connection.cursor() as cursor:
        for statement in statements[connection.vendor]:
            cursor.execute(statement.format(table=table, row=row))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(REMOVAL[connection.vendor].format(table=table))


_ON_POSTGRESQL = (
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$",
    "CREATE TRIGGER refuse BEFORE UPDATE ON {{table}} FOR EACH ROW WHEN (old.id = {{row}}) "
    "EXECUTE FUNCTION refuse()",
)
PUTS_BACK = {
    "sqlite": [
        "CREATE TRIGGER refuse AFTER UPDATE ON {table} WHEN old.id = {row} "
        "BEGIN UPDATE {table} SET text = old.text WHERE id = old.id; END"
    ],
    "postgresql": [
        each.format(body="NEW.text := OLD.text; RETURN NEW;") for each in _ON_POSTGRESQL
    ],
    "mysql": [
        "CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW "
        "IF old.id = {row} THEN SET NEW.text = OLD.text; END IF"
    ],
}
DROPS = {
    "sqlite": [
        [
            "CREATE TRIGGER refuse BEFORE UPDATE ON {table} WHEN old.id = {row} "
            "BEGIN SELECT RAISE(IGNORE); END"
        ]
    ],
    "postgresql": [[each.format(body="RETURN NULL;") for each in _ON_POSTGRESQL]],
}
