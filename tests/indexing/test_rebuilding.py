"""Rebuilding, verifying and bringing an index to be read, on a table that has rows."""

import json
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.fields.legacy import FernetFields
from envelope_fields.indexing import bring_to, collisions, find_indexes, rows, run, start
from envelope_fields.indexing.rebuild import Rebuild
from envelope_fields.indexing.rows import NoSuchIndex
from envelope_fields.jobs.representation import progress
from envelope_fields.jobs.throttle import Limits
from envelope_fields.models import AuditEvent, BlindIndex, ColumnConversion
from envelope_fields.rotation import failures
from tests.models.indexed import Member, Person, Tenant, Visit

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("known_at_once")]

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


def verified(table):
    return run(start(table.index, "verify_index", using=table.using))


def rebuilt(table):
    return run(start(table.index, "rebuild_index", using=table.using))


def causes(table):
    return [each.cause for each in failures(verified(table)).order_by("row")]


def test_it_is_filled(people, table):
    assert causes(table) == ["Missing"] * 3
    done = rebuilt(table)
    assert (done.state, done.error) == ("completed", "")
    numbers = progress(done)
    assert (numbers.total, numbers.moved, numbers.failed, numbers.remaining) == (4, 3, 0, 0)
    assert causes(table) == []
    assert None not in indexes()
    assert progress(rebuilt(table)).moved == 0


def test_the_way_to_reading(people, table):
    with pytest.raises(IndexNotReady, match=f"{LABEL} is filling"):
        Person.objects.get(email="ada1@example.org")
    report = bring_to([table], "reading")
    assert (report.state, report.problems, report.is_right) == ("reading", 0, True)
    written, compared, once_more = map(progress, report.runs)
    assert (written.moved, compared.total, once_more.total) == (3, 4, 4)
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
    assert causes(table) == ["Differs"]
    with pytest.raises(IndexNotReady, match="1 row in the way") as refused:
        bring_to([table], "reading")
    [failure] = failures(refused.value.report.last_run)
    assert (failure.row, failure.cause) == (str(people[0].pk), "Collision")
    assert failure.message == f"It has the normal form of {people[1].pk}."
    execute("UPDATE tests_person SET email = NULL WHERE id = %s", people[0].pk)
    assert causes(table) == ["Stale"]
    assert progress(bring_to([table], "reading").runs[0]).moved == 1
    assert causes(table) == []
    assert other.contact == "eve@example.org"


def test_a_row_that_is_written_meanwhile(people, table, monkeypatch):
    write = Rebuild.write

    def late(*given):
        monkeypatch.setattr(Rebuild, "write", write)
        person = Person.objects.get(pk=people[0].pk)
        person.email = "eve@example.org"
        person.save()
        return write(*given)

    monkeypatch.setattr(Rebuild, "write", late)
    done = rebuilt(table)
    numbers = progress(done)
    assert (done.state, done.pass_number) == ("completed", 2)
    assert (numbers.moved, numbers.skipped) == (2, 1)
    assert bring_to_reading(table)
    assert Person.objects.get(email="EVE@example.org") == people[0]


def bring_to_reading(table):
    return bring_to([table], "reading").state == "reading"


def test_a_bad_row_is_passed_and_reported(people, table):
    execute("UPDATE tests_person SET email = %s WHERE id = %s", b"\x01" * 120, people[1].pk)
    with pytest.raises(IndexNotReady) as refused:
        bring_to([table], "reading")
    done = refused.value.report.last_run
    assert progress(done).moved == 2
    assert [each.row for each in failures(done)] == [str(people[1].pk)]
    assert BlindIndex.objects.get(label=LABEL).state == "filling"


def test_batches(people, table):
    seen = []
    begun = start(table.index, "rebuild_index", using=table.using, limits=Limits(batch_size=2))
    assert run(begun, watch=lambda batch: seen.append(batch.moved)).state == "completed"
    assert seen == [2, 1]


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
        assert (report.state, report.problems) == ("reading", 0)
        assert progress(report.runs[0]).moved == 2
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
        assert f"{LABEL}: reading." in out
        assert "tests.Person.email_index: 3 values indexed, 0 failed." in out
        assert "tests.Person.email_index: 4 rows compared, 0 failed." in out
        assert Person.objects.get(email="ada2@example.org") == people[2]

    def test_rebuild_all(self, people, capsys):
        call_command("rebuild_indexes", json=True)
        found = {each["label"]: each for each in json.loads(capsys.readouterr().out)["indexes"]}
        [done] = found[LABEL]["runs"]
        assert (done["kind"], done["moved"], done["failures"]) == ("rebuild_index", 3, [])
        assert (found[LABEL]["state"], found[LABEL]["next"]) == ("filling", ["verified", "retired"])

    def test_verify(self, people, capsys):
        with pytest.raises(CommandError, match="It has a value, and no index") as refused:
            call_command("verify_indexes", LABEL, json=True)
        assert str(refused.value).count("Missing") == 3
        found = json.loads(capsys.readouterr().out)
        assert (found["rows"], found["wrong"]) == (4, 3)
        assert [each["cause"] for each in found["runs"][0]["failures"]] == ["Missing"] * 3
        call_command("rebuild_indexes", LABEL)
        call_command("verify_indexes", LABEL)
        assert "4 of 4 are right" in capsys.readouterr().out

    def test_names(self, people):
        with pytest.raises(CommandError, match=f"The blind indexes are: .*{LABEL}"):
            call_command("rebuild_indexes", "tests.person.email")
        with pytest.raises(CommandError, match="Name the index"):
            call_command("rebuild_indexes", to="reading")

    @pytest.mark.parametrize(
        ("label", "found"),
        [
            ("A.Person.email", "a.person.email_index, and 3 more"),
            ("a.person", "a.person.email_index, a.person.name_index, and 2 more"),
            ("a.", "a.person.email_index, a.person.name_index, a.visit.day_index, and 1 more"),
            ("c", "a.person.email_index, a.person.name_index, a.visit.day_index, b.x.y"),
        ],
    )
    def test_names_like_others(self, label, found, monkeypatch):
        known = ("b.x.y", "a.visit.day_index", "a.person.name_index", "a.person.email_index")
        columns = [SimpleNamespace(field=SimpleNamespace(field_path=each)) for each in known]
        monkeypatch.setattr(rows, "index_columns", lambda: columns)
        with pytest.raises(NoSuchIndex, match=rf"are: {found}\.$"):
            find_indexes([label])

    def test_an_empty_name_is_not_all_of_them(self, people):
        """Such as one of a variable of the shell that is not set."""
        Visit.objects.create(person=people[0], reason="fever")
        states = list(BlindIndex.objects.values_list("label", "state"))
        for command, options in (("rebuild_indexes", {"to": "filling"}), ("verify_indexes", {})):
            with pytest.raises(CommandError, match="label is empty"):
                call_command(command, "", **options)
        assert list(BlindIndex.objects.values_list("label", "state")) == states

    def test_retiring(self, people, table, known_at_once):
        call_command("rebuild_indexes", LABEL, to="reading")
        with pytest.raises(CommandError, match="its lookups would end"):
            call_command("rebuild_indexes", LABEL, to="retired")
        call_command("rebuild_indexes", LABEL, to="verified")
        call_command("rebuild_indexes", LABEL, to="retired")
        assert BlindIndex.objects.get(label=LABEL).state == "retired"
        assert indexes() == [None] * 3
