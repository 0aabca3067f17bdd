"""What a rebuild writes is what writing the values would have written, whatever they are."""

import datetime
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from envelope_fields.fields.index.rows import term_of_stored
from envelope_fields.indexing import find_indexes, run, start
from envelope_fields.indexing.rebuild import Rebuild
from envelope_fields.jobs.job import Change
from envelope_fields.jobs.representation import progress
from envelope_fields.jobs.statements import statements
from envelope_fields.jobs.statements.beside import SHORT_BYTES
from envelope_fields.models import BlindIndex
from tests.models.indexed import Citizen, Doctor, Insured, Person, Sample, Tailored, Visit
from tests.stored import store, stored

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("known_at_once")]

LONG = "A long Reason. " * SHORT_BYTES


def execute(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def table_of(label):
    [found] = [each for each in find_indexes([label]) if each.using == "default"]
    BlindIndex.objects.filter(label=label).update(state="filling")
    return found


def rebuilt(table):
    return run(start(table.index, "rebuild_index", using=table.using))


def in_index(table):
    name = table.column.column_sql
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {name} FROM {table.column.table_sql} ORDER BY 1")
        return [None if value is None else bytes(value) for (value,) in cursor.fetchall()]


def write_visits():
    person = Person.objects.create(email="ada@example.org")
    for reason in ("Flu", "", LONG, "x" * (SHORT_BYTES - 97), "x" * (SHORT_BYTES - 96)):
        Visit.objects.create(person=person, reason=reason, contact=None)
    Visit.objects.create(person=person, reason="ﬁ", contact="Eve@example.org")


def write_citizens():
    for born in (None, datetime.date(1815, 12, 10), datetime.date(1815, 12, 11)):
        Citizen.objects.create(last_name="Lovelace", born=born)


def write_samples():
    for mrn in ("7", "", 7, LONG, None):
        Sample.objects.create(data={"mrn": mrn}, size=12)
    Sample.objects.create(data={}, size=None)


def write_insured():
    for ssn in ("078-05-1120", "٠١٢٣", "none", ""):
        Insured.objects.create(ssn=ssn)


def write_doctors():
    Person.objects.create(email="ada@example.org")  # so that its keys are not those of people
    for pager in ("17", "", "17"):
        Doctor.objects.create(title="Dr.", pager=pager)


KINDS = {
    "visit.reason_index": write_visits,
    "visit.contact_index": write_visits,
    "citizen.born_year": write_citizens,
    "citizen.name_index": write_citizens,
    "sample.data_index": write_samples,
    "sample.size_index": write_samples,
    "insured.ssn_index": write_insured,
    "insured.ssn_end": write_insured,
    "doctor.pager_index": write_doctors,
}


@pytest.mark.parametrize("label", KINDS)
def test_each_kind_of_index(label):
    KINDS[label]()
    table = table_of(f"tests.{label}")
    before, name = in_index(table), table.column.column_sql
    assert any(before)
    execute(f"UPDATE {table.column.table_sql} SET {name} = NULL")
    done = rebuilt(table)
    numbers = progress(done)
    assert (done.state, done.error, numbers.failed) == ("completed", "", 0)
    assert numbers.moved == sum(each is not None for each in before)
    assert in_index(table) == before
    assert progress(rebuilt(table)).moved == 0


def test_rows_that_are_filled_and_rows_that_are_emptied():
    """Changes of one batch are written together, in the order of their keys."""
    people = [Person.objects.create(email=f"ada{number}@example.org") for number in range(3)]
    stale = Person.objects.create(email=None)
    table = table_of("tests.person.email_index")
    execute("UPDATE tests_person SET email_index = NULL WHERE id < %s", stale.pk)
    store(stale, "email_index", b"x" * 24)
    numbers = progress(rebuilt(table))
    assert (numbers.moved, numbers.skipped) == (4, 0)
    assert stored(stale, "email_index") is None
    assert None not in [stored(each, "email_index") for each in people]


def test_long_values_that_are_written_or_deleted_meanwhile(monkeypatch):
    """They are read after the rows of the batch, and once more where they do not come along."""
    write_visits()
    table = table_of("tests.visit.reason_index")
    execute("UPDATE tests_visit SET reason_index = NULL")
    long = max(Visit.objects.all(), key=lambda visit: len(visit.reason))
    process = Rebuild.process

    def late(job, stored_rows):
        monkeypatch.setattr(Rebuild, "process", process)
        execute("DELETE FROM tests_visit WHERE id = %s", long.pk)
        return process(job, stored_rows)

    monkeypatch.setattr(Rebuild, "process", late)
    done = rebuilt(table)
    assert (done.state, done.error) == ("completed", "")
    assert in_index(table).count(None) == 1  # of the text that is empty


def test_a_field_that_stores_another_text_than_it_is_given():
    first = Tailored.objects.create(code="ada")
    table = table_of("tests.tailored.code_index")
    assert term_of_stored(table.index) is None
    before = in_index(table)
    execute("UPDATE tests_tailored SET code_index = NULL")
    assert progress(rebuilt(table)).moved == 1
    assert in_index(table) == before
    BlindIndex.objects.update(state="reading")
    assert Tailored.objects.get(code="ADA") == first


class TestSwapping:
    """Rows are written that are as they were read, column by column."""

    @pytest.fixture
    def table(self):
        return table_of("tests.visit.contact_index")

    @pytest.fixture
    def rows(self):
        person = Person.objects.create(email="ada@example.org")
        return [
            Visit.objects.create(person=person, reason="", contact=contact)
            for contact in ("a@example.org", None, "b@example.org", "c@example.org")
        ]

    def changes(self, rows, new):
        return [
            Change((row.pk,), [stored(row, "contact_index"), stored(row, "contact")], made)
            for row, made in zip(rows, new, strict=True)
        ]

    def swapped(self, table, changes):
        return statements(table.column).swap_made(changes, table.compared)

    @pytest.mark.parametrize(
        "new",
        [
            [b"a" * 24, b"b" * 24, b"c" * 24, b"d" * 24],
            [b"a" * 24, None, b"", b"dd"],
            [None, None, None, None],
        ],
    )
    def test_what_is_as_it_was(self, table, rows, new):
        assert self.swapped(table, self.changes(rows, new)) == 4
        found = [stored(row, "contact_index") for row in rows]
        assert [None if each is None else bytes(each) for each in found] == new

    def test_what_is_not(self, table, rows):
        changes = self.changes(rows, [b"a" * 24, b"b" * 24, b"c" * 24, b"d" * 24])
        execute("UPDATE tests_visit SET contact_index = NULL WHERE id = %s", rows[0].pk)
        execute(
            "UPDATE tests_visit SET contact = (SELECT contact FROM (SELECT id, contact FROM "
            "tests_visit) AS others WHERE id = %s) WHERE id IN (%s, %s)",
            *(rows[3].pk, rows[1].pk, rows[2].pk),
        )
        assert self.swapped(table, changes) == 1
        assert [stored(row, "contact_index") == b"d" * 24 for row in rows] == [False] * 3 + [True]

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="a planner that may do otherwise")
    def test_how_the_rows_of_a_batch_are_found(self, table, rows):
        execute(
            "INSERT INTO tests_visit (person_id, reason, contact) SELECT person_id, reason, "
            "contact FROM tests_visit, generate_series(1, 20000) WHERE id = %s",
            rows[0].pk,
        )
        execute("ANALYZE tests_visit")
        read = statements(table.column).rows((rows[3].pk + 5_000,), None, 2_000, table.made_of)
        changes = [Change(each.key, each.beside, b"x" * 24) for each in read]
        with CaptureQueriesContext(connection) as queries:
            assert self.swapped(table, changes) == 2_000
        sql = queries[-1]["sql"].replace("%", "%%")
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}", ())
            plan = "\n".join(row for (row,) in cursor.fetchall())
        assert "tests_visit_pkey" in plan
        assert not re.search(r"Seq Scan on tests_visit|(Hash|Merge) Cond: .*substr", plan), plan

    def test_whole_values_are_compared_as_such(self, table, rows):
        """What another package has stored may be no envelope, of any length."""
        others = [b"\x80abc", b"", b"\x80" * 200, None]
        for row, other in zip(rows, others, strict=True):
            store(row, "contact", other)
        changes = [
            Change((row.pk,), [None, other], b"x" * 24)
            for row, other in zip(rows, others, strict=True)
        ]
        execute("UPDATE tests_visit SET contact_index = NULL")
        store(rows[2], "contact", b"\x80" * 201)
        assert self.swapped(table, changes) == 3
        assert stored(rows[2], "contact_index") is None
