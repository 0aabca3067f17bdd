"""Filling, verifying and bringing an index to be read, on a table that has rows."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.fields.legacy import FernetFields
from envelope_fields.indexing import bring_to, collisions, fill, filling, find_indexes, verify
from envelope_fields.models import AuditEvent, BlindIndex, ColumnConversion
from tests.models.indexed import Member, Person, Tenant, Visit

pytestmark = pytest.mark.django_db(databases="__all__")

LABEL = "tests.person.email_index"


def execute(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def forget(*people):
    """Leave rows as a build has written them that does not know the index."""
    keys = ", ".join(str(each.pk) for each in people)
    execute(f"UPDATE tests_person SET email_index = NULL WHERE id IN ({keys})")


@pytest.fixture
def people():
    found = [Person.objects.create(email=f"Ada{number}@Example.org") for number in range(3)]
    Person.objects.create(email=None)
    BlindIndex.objects.filter(label=LABEL).update(state="filling")
    forget(*found)
    return found


@pytest.fixture
def table():
    [found] = [each for each in find_indexes([LABEL]) if each.using == "default"]
    return found


def indexes():
    execute_sql = "SELECT email_index FROM tests_person WHERE email IS NOT NULL ORDER BY id"
    with connection.cursor() as cursor:
        cursor.execute(execute_sql)
        return [None if row[0] is None else bytes(row[0]) for row in cursor.fetchall()]


def causes(table):
    return [each.cause for batch in verify(table) for each in batch.wrong]


def test_it_is_filled(people, table, django_assert_max_num_queries):
    assert causes(table) == ["missing"] * 3
    [done] = fill(table)
    assert (done.written, done.kept, done.skipped) == (3, 0, 0)
    assert causes(table) == []
    assert None not in indexes()
    assert list(fill(table)) == []


def test_the_way_to_reading(people, table):
    with pytest.raises(IndexNotReady, match=f"{LABEL} is filling"):
        Person.objects.get(email="ada1@example.org")
    report = bring_to([table], "reading")
    assert (report.state, report.written, report.verified, report.problems) == ("reading", 3, 4, 0)
    assert Person.objects.get(email="ada1@example.org") == people[1]
    events = AuditEvent.objects.filter(action="change_index").order_by("number")
    assert [event.after["state"] for event in events] == ["verified", "reading"]


def test_what_is_not_converted_yet_keeps_it_from_being_read(people, table, monkeypatch):
    field = Person._meta.get_field("email")
    monkeypatch.setattr(field, "legacy_formats", (FernetFields(),))
    assert bring_to([table], "verified").state == "verified"
    with pytest.raises(IndexNotReady, match=r"convert_field tests\.Person\.email --to finished"):
        bring_to([table], "reading")
    ColumnConversion.objects.create(
        model="tests.Person", field="email", kind="legacy", phase="finished",
        finished_at=timezone.now(),
    )  # fmt: skip
    assert bring_to([table], "reading").state == "reading"


def test_filling_alone_leaves_the_state(people, table):
    assert bring_to([table]).state == "filling"
    assert bring_to([table], "verified").state == "verified"
    assert bring_to([table], "filling").state == "filling"


def test_what_an_old_build_has_changed(people, table):
    """It has written the value, and not the index."""
    bring_to([table], "reading")
    other = Visit.objects.create(person=people[0], contact="eve@example.org")
    execute(
        "UPDATE tests_person SET email = (SELECT email FROM (SELECT email, id FROM tests_person) "
        "AS others WHERE id = %s) WHERE id = %s",
        people[1].pk,
        people[0].pk,
    )
    assert causes(table) == ["differs"]
    with pytest.raises(IndexNotReady, match="1 rows are in the way") as refused:
        bring_to([table], "reading")
    report = refused.value.report
    [collision] = report.collisions
    assert {collision.row, collision.other} == {str(people[0].pk), str(people[1].pk)}
    execute("UPDATE tests_person SET email = NULL WHERE id = %s", people[0].pk)
    assert causes(table) == ["stale"]
    assert bring_to([table], "reading").written == 1
    assert causes(table) == []
    assert other.contact == "eve@example.org"


def test_a_row_that_is_written_meanwhile(people, table, monkeypatch):
    swap = filling._swap

    def late(*given):
        person = Person.objects.get(pk=people[0].pk)
        person.email = "eve@example.org"
        person.save()
        return swap(*given)

    monkeypatch.setattr(filling, "_swap", late)
    [done] = fill(table)
    assert (done.written, done.skipped) == (2, 1)
    monkeypatch.undo()
    assert bring_to_reading(table)
    assert Person.objects.get(email="EVE@example.org") == people[0]


def bring_to_reading(table):
    return bring_to([table], "reading").state == "reading"


def test_a_bad_row_is_passed_and_reported(people, table):
    execute("UPDATE tests_person SET email = %s WHERE id = %s", b"\x01" * 120, people[1].pk)
    with pytest.raises(IndexNotReady) as refused:
        bring_to([table], "reading")
    report = refused.value.report
    assert report.written == 2
    assert [each.row for each in report.failed] == [str(people[1].pk)]
    assert BlindIndex.objects.get(label=LABEL).state == "filling"


def test_batches(people, table, monkeypatch):
    monkeypatch.setattr("envelope_fields.indexing.rows.ROWS_AT_ONCE", 2)
    assert [done.written for done in fill(table)] == [2, 1]
    assert sum(batch.rows for batch in verify(table)) == 4


def test_rows_of_tenants(people):
    """Whose values are bound to the tenant, and whose index has a search key of each."""
    ours, theirs = Tenant.objects.create(name="ours"), Tenant.objects.create(name="theirs")
    for tenant in (ours, theirs):
        Member.objects.create(tenant=tenant, email="ada@example.org", phone="030-123")
    before = Member.objects.order_by("pk").values_list("pk", "email_index", "phone_index")
    before = [[bytes(each) if isinstance(each, bytes) else each for each in row] for row in before]
    execute("UPDATE tests_member SET email_index = NULL, phone_index = NULL")
    BlindIndex.objects.update(state="filling")
    for label in ("tests.member.email_index", "tests.member.phone_index"):
        [table] = [each for each in find_indexes([label]) if each.using == "default"]
        report = bring_to([table], "reading")
        assert (report.state, report.written, report.problems) == ("reading", 2, 0)
    after = Member.objects.order_by("pk").values_list("pk", "email_index", "phone_index")
    assert [list(row) for row in after] == before
    assert before[0][1] != before[1][1]


class TestCommands:
    def test_dry_run(self, people, capsys):
        with CaptureQueriesContext(connection) as queries:
            call_command("rebuild_indexes", LABEL, dry_run=True, json=True)
        # Its column may not be there yet.
        assert not any("email_index" in query["sql"] for query in queries.captured_queries)
        [found] = json.loads(capsys.readouterr().out)["indexes"]
        assert (found["values"], found["collisions"], found["unique"]) == (3, [], True)
        assert indexes() == [None] * 3

    def test_dry_run_with_collisions(self, people, table, capsys):
        execute("UPDATE tests_person SET email_index = NULL")
        twin = Person.objects.create(email="x@example.org")
        execute("UPDATE tests_person SET email_index = NULL")
        execute(
            "UPDATE tests_person SET email = (SELECT email FROM (SELECT email, id FROM "
            "tests_person) AS others WHERE id = %s) WHERE id = %s",
            people[1].pk,
            twin.pk,
        )
        [batch] = collisions(table)
        assert [(each.row, each.other) for each in batch.collisions] == [
            (str(people[1].pk), str(twin.pk))
        ]
        with pytest.raises(CommandError, match="same normal form"):
            call_command("rebuild_indexes", LABEL, dry_run=True)
        out = capsys.readouterr().out
        assert f"{people[1].pk} and {twin.pk} collide" in out
        assert "example" not in out

    def test_rebuild(self, people, capsys):
        call_command("rebuild_indexes", "tests.Person.email_index", to="reading")
        out = capsys.readouterr().out
        assert f"{LABEL}: reading. Rows written: 3" in out
        assert Person.objects.get(email="ada2@example.org") == people[2]

    def test_rebuild_all(self, people, capsys):
        call_command("rebuild_indexes", json=True)
        found = {each["label"]: each for each in json.loads(capsys.readouterr().out)["indexes"]}
        assert found[LABEL]["written"] == 3
        assert found[LABEL]["state"] == "filling"

    def test_verify(self, people, capsys):
        with pytest.raises(CommandError, match="3 rows have not the index"):
            call_command("verify_indexes", LABEL, json=True)
        found = json.loads(capsys.readouterr().out)
        assert [each["cause"] for each in found["wrong"]] == ["missing"] * 3
        call_command("rebuild_indexes", LABEL)
        call_command("verify_indexes", LABEL)
        assert "4 of 4 are right" in capsys.readouterr().out

    def test_names(self, people):
        with pytest.raises(CommandError, match=f"The blind indexes are: .*{LABEL}"):
            call_command("rebuild_indexes", "tests.person.email")
        with pytest.raises(CommandError, match="Name the index"):
            call_command("rebuild_indexes", to="reading")

    def test_retiring(self, people, table, known_at_once):
        call_command("rebuild_indexes", LABEL, to="reading")
        with pytest.raises(CommandError, match="its lookups would end"):
            call_command("rebuild_indexes", LABEL, to="retired")
        call_command("rebuild_indexes", LABEL, to="verified")
        call_command("rebuild_indexes", LABEL, to="retired")
        assert BlindIndex.objects.get(label=LABEL).state == "retired"
        assert indexes() == [None] * 3
