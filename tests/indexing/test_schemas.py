"""An index whose table several schemas have is one of all of them (PostgreSQL)."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from envelope_fields.census.indexes import ColumnNotThere
from envelope_fields.databases import RowsHidden
from envelope_fields.exceptions import IndexNotReady
from envelope_fields.indexing import bring_to, collisions, find_indexes, run, start
from envelope_fields.indexing.rows import NoSuchIndex
from envelope_fields.indexing.runs import KINDS, IndexScope
from envelope_fields.jobs.representation import progress
from envelope_fields.models import BlindIndex, RotationRun
from envelope_fields.rotation import failures
from tests.census.schemas import BOUND, as_bound_role, execute, quoted
from tests.census.test_schemas import limited_to
from tests.models.indexed import Person

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("known_at_once"),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has schemas"),
]

LABEL = "tests.person.email_index"
WEIRD = 'we"ird % schema'


def make_schema(name, *emails):
    """Make a schema with people, of whom an old build has written no index."""
    schema = quoted(name)
    execute(
        f"CREATE SCHEMA {schema}",
        f"CREATE TABLE {schema}.tests_person (LIKE tests_person INCLUDING ALL)",
    )
    for email in emails:
        person = Person.objects.create(email=email)
        execute(
            f"INSERT INTO {schema}.tests_person SELECT * FROM tests_person WHERE id = {person.pk}",
            f"DELETE FROM tests_person WHERE id = {person.pk}",
            f"UPDATE {schema}.tests_person SET email_index = NULL",
        )


@pytest.fixture(autouse=True)
def begun():
    Person.objects.create(email="eve@example.org")
    BlindIndex.objects.filter(label=LABEL).update(state="filling")


def tables():
    return [each for each in find_indexes([LABEL]) if each.using == "default"]


def in_schema(name, email):
    with transaction.atomic():
        execute(f"SET LOCAL search_path = {quoted(name)}, public")
        found = Person.objects.filter(email=email).count()
        execute("SET LOCAL search_path = public")
    return found


def test_one_schema_has_no_name():
    assert [each.schema for each in tables()] == [None]


def test_all_of_them_are_filled_and_compared():
    make_schema("acme", "ada@example.org", "ben@example.org")
    make_schema(WEIRD, "ada@example.org")
    assert sorted(each.schema for each in tables()) == ["acme", "public", WEIRD]
    index = Person._meta.get_field("email_index")
    wrong = failures(run(start(index, "verify_index", using="default")))
    assert sorted((each.range.column.schema, each.cause) for each in wrong) == [
        ("acme", "Missing"), ("acme", "Missing"), (WEIRD, "Missing"),
    ]  # fmt: skip
    report = bring_to(tables(), "reading")
    written, compared, _ = map(progress, report.runs)
    assert (report.state, written.moved, compared.total) == ("reading", 3, 4)
    assert in_schema("acme", "BEN@example.org") == 1
    assert in_schema(WEIRD, "BEN@example.org") == 0
    assert in_schema(WEIRD, "ADA@example.org") == 1
    assert Person.objects.get(email="eve@example.org")


def test_a_search_path_hides_none():
    make_schema("acme", "ada@example.org")
    execute("SET LOCAL search_path = acme, public")
    assert progress(bring_to(tables(), "verified").last_run).total == 2


def test_a_row_of_another_schema_does_not_keep_it_from_verified(capsys):
    make_schema("acme", "ada@example.org")
    Person.objects.create(email="ada@example.org")
    assert [batch.collisions for table in tables() for batch in collisions(table)] == [[], []]
    call_command("rebuild_indexes", LABEL, dry_run=True, json=True)
    found = json.loads(capsys.readouterr().out)["indexes"]
    assert {each["schema"] for each in found if each["database"] == "default"} == {"acme", "public"}


def test_one_schema_that_is_wrong_keeps_it_from_being_read(capsys):
    make_schema("acme", "ada@example.org")
    execute("UPDATE acme.tests_person SET email = decode(repeat('01', 120), 'hex')")
    with pytest.raises(CommandError, match="1 row in the way"):
        call_command("rebuild_indexes", LABEL, to="reading")
    with pytest.raises(CommandError, match="in the schema 'acme'"):
        call_command("verify_indexes", LABEL)
    assert BlindIndex.objects.get(label=LABEL).state == "filling"


def test_one_that_is_not_migrated_is_named():
    make_schema("acme", "ada@example.org")
    execute("ALTER TABLE acme.tests_person DROP COLUMN email_index")
    with pytest.raises(ColumnNotThere, match=r"acme\.tests_person\.email_index is not there"):
        bring_to(tables())
    with pytest.raises(IndexNotReady, match=r"schema 'acme': run `python manage.py migrate`"):
        bring_to(tables(), "verified")
    looked = [batch.values for table in tables() for batch in collisions(table)]
    assert looked == [1, 1]


def test_what_the_settings_leave_out_is_left_out():
    make_schema("acme", "ada@example.org")
    with limited_to("public"):
        assert [each.column.relation.schema for each in tables()] == ["public"]
    with limited_to("other"), pytest.raises(NoSuchIndex, match="no table in a schema"):
        find_indexes([LABEL])


def test_rows_that_are_hidden_are_not_zero():
    make_schema("acme", "ada@example.org")
    execute("ALTER TABLE acme.tests_person ENABLE ROW LEVEL SECURITY")
    grants = ['GRANT ALL ON SCHEMA acme TO "{0}"', 'GRANT ALL ON acme.tests_person TO "{0}"']
    with as_bound_role(*(each.format(BOUND) for each in grants)):
        [hidden] = [each for each in tables() if each.schema == "acme"]
        with pytest.raises(RowsHidden, match=r"acme.*tests_person"):
            list(collisions(hidden))
        for kind in KINDS:
            with pytest.raises(RowsHidden, match=r"acme.*tests_person"):
                IndexScope(RotationRun(kind=kind, only_fields=[LABEL])).count(hidden.column)
