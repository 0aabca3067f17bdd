"""What lies in another schema is rewrapped, re-encrypted and verified there (PostgreSQL)."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from envelope_fields import keyring
from envelope_fields.census import census, not_counted
from envelope_fields.databases import RowsHidden
from envelope_fields.jobs.batches import Batches
from envelope_fields.jobs.throttle import Limits
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import MasterKey, RotationColumn
from envelope_fields.rotation import RotationState, progress, run
from envelope_fields.rotation.rewrap import Rewrap
from envelope_fields.rotation.scope import chosen_columns
from envelope_fields.rotation.verification import verify
from tests.census.schemas import TABLE, as_bound_role, execute, hide_rows, make_schema
from tests.models import Note, TenantNote

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL has schemas"),
]


def versions():
    return {(row.schema, row.version.number): row.values for row in census(database="default")}


@pytest.fixture
def notes():
    make_schema("acme", texts=["a", "b"])
    make_schema('odd "%s" name', texts=["c"])
    Note.objects.create(text="d", data=None)
    rotate_master_key("default")


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("kind", ["rewrap", "re_encrypt"])
def test_values_move_in_every_schema(kind):
    done = run("default", kind=kind)
    assert done.state == RotationState.COMPLETED
    assert versions() == {("public", 2): 1, ("acme", 2): 2, ('odd "%s" name', 2): 1}
    told = progress(done)
    assert {(each.schema, each.moved) for each in told.fields} == {
        ("public", 1),
        ("acme", 2),
        ('odd "%s" name', 1),
    }
    execute("SET LOCAL search_path = acme, public")
    keyring.evict()
    assert sorted(note.text for note in Note.objects.all()) == ["a", "b"]


def test_in_one_schema_it_has_no_name():
    Note.objects.create(text="d", data=None)
    rotate_master_key("default")
    done = run("default")
    assert [each.schema for each in progress(done).fields] == [None]
    assert RotationColumn.objects.get().schema == "public"


def test_a_schema_that_is_made_meanwhile_does_not_confuse_a_run():
    Note.objects.create(text="d", data=None)
    rotate_master_key("default")

    def make(tally):
        if not connection_has("acme"):
            make_schema("acme")

    done = run("default", watch=make)
    assert done.state == RotationState.COMPLETED
    assert RotationColumn.objects.count() == 1


def connection_has(schema):
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace(%s) IS NOT NULL", [schema])
        return cursor.fetchone()[0]


def test_the_key_of_a_row_is_asked_of_the_row_in_its_schema():
    """Rows of two tenants have the same primary key."""
    for alias in ("acme", "corp"):
        create_master_key(alias)
    for alias in ("acme", "corp"):
        execute(f"CREATE SCHEMA {alias}")
        note = TenantNote.objects.create(tenant=alias, text=alias)
        execute(
            f"CREATE TABLE {alias}.tests_tenantnote (LIKE tests_tenantnote INCLUDING ALL)",
            f"INSERT INTO {alias}.tests_tenantnote SELECT * FROM tests_tenantnote",
            f"UPDATE {alias}.tests_tenantnote SET id = 1",
        )
        note.delete()
    execute("INSERT INTO tests_tenantnote SELECT id, 'corp', text, data FROM acme.tests_tenantnote")
    execute("DELETE FROM tests_tenantnote WHERE tenant = 'acme'")
    rotate_master_key("acme")
    done = run("acme", kind="re_encrypt", fields=["tests.TenantNote.text"])
    assert done.state == RotationState.COMPLETED
    assert {(row.schema, row.version.key_alias, row.version.number) for row in census()} == {
        ("acme", "acme", 2),
        ("corp", "corp", 1),
        ("public", "corp", 1),
    }


@pytest.mark.usefixtures("notes")
def test_views_in_other_schemas_are_not_written():
    execute(
        "CREATE SCHEMA reports",
        f"CREATE VIEW reports.{TABLE} AS SELECT * FROM public.{TABLE} "
        f"UNION ALL SELECT * FROM acme.{TABLE}",
        "CREATE SCHEMA stale",
        f"CREATE MATERIALIZED VIEW stale.{TABLE} AS SELECT * FROM public.{TABLE}",
    )
    assert versions()["reports", 1] == 3
    assert run("default").state == RotationState.COMPLETED
    assert versions()["reports", 2] == 3
    assert versions()["stale", 1] == 1, "until it is refreshed, no key is destroyed"
    assert {each.location for each in not_counted()} == {
        f"{schema}.{TABLE}.{column}"
        for schema in ("reports", "stale")
        for column in ("text", "data")
    }


@pytest.mark.usefixtures("notes")
def test_values_are_verified_in_every_schema():
    first = f"SELECT min(id) FROM acme.{TABLE}"
    execute(f"UPDATE acme.{TABLE} SET text = 'plain' WHERE id = ({first})")
    found = list(verify())
    assert sum(each.values for each in found) == 4
    (unreadable,) = [each for batch in found for each in batch.unreadable]
    assert (unreadable.schema, unreadable.cause) == ("acme", "MalformedEnvelope")


@pytest.mark.usefixtures("notes")
def test_pages_and_the_api_name_the_schema(admin_client):
    key = MasterKey.objects.get(alias="default")
    page = admin_client.get(f"/admin/envelope_fields/masterkey/{key.pk}/change/")
    assert "tests.Note.text (acme)" in page.content.decode()
    said = admin_client.get(f"/api/v1/keys/{key.pk}/census/").json()
    assert {row["schema"] for row in said["rows"]} >= {"public", "acme"}
    done = run("default")
    page = admin_client.get(f"/admin/envelope_fields/rotationrun/{done.pk}/change/")
    assert "default, acme" in page.content.decode()


@pytest.mark.usefixtures("notes")
def test_commands_name_the_schema():
    out = StringIO()
    call_command("census", "--json", stdout=out)
    assert {row["schema"] for row in json.loads(out.getvalue())["rows"]} >= {"acme", "public"}
    out = StringIO()
    call_command("census", stdout=out)
    assert "acme" in out.getvalue()
    out = StringIO()
    call_command("rewrap", "--dry-run", stdout=out)
    assert "values of tests.Note.text in the schema 'acme' of 'default'" in out.getvalue()
    out = StringIO()
    call_command("rewrap", "--json", stdout=out)
    (content,) = json.loads(out.getvalue())
    assert {each["schema"] for each in content["progress"]} >= {"acme", "public"}


@pytest.mark.usefixtures("notes")
def test_a_run_over_hidden_rows_fails_and_says_so():
    execute("GRANT USAGE ON SCHEMA acme TO PUBLIC", f"GRANT ALL ON acme.{TABLE} TO PUBLIC",
            'GRANT USAGE ON SCHEMA "odd ""%s"" name" TO PUBLIC',
            f'GRANT ALL ON "odd ""%s"" name".{TABLE} TO PUBLIC')  # fmt: skip
    hide_rows(f"acme.{TABLE}")
    with (
        as_bound_role(),
        pytest.raises(CommandError, match=r"row-level security hides rows of acme\.tests_note"),
    ):
        call_command("rewrap", "--key", "default")


def test_rows_that_become_hidden_meanwhile_are_not_passed_over():
    Note.objects.create(text="a", data=None)
    hide_rows()
    column = next(column for column in chosen_columns() if str(column) == "tests.Note.text")
    with as_bound_role():
        batches = Batches(column, Rewrap(column), Limits())
        with pytest.raises(RowsHidden, match=r'hides rows of "public"\."tests_note"'):
            next(batches.between([b"12345678"], None, (1,)))
        with pytest.raises(RowsHidden):
            list(verify())
