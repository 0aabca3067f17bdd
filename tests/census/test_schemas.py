"""A table that several schemas have is counted in each of them (PostgreSQL)."""

import pytest
from django.db import connection
from django.test.utils import override_settings

from envelope_fields.census import CensusFailed, census, not_counted
from envelope_fields.lifecycle import ConfirmationRequired, KeyInUse, schedule_deletion
from envelope_fields.lifecycle.master_keys import create_master_key
from envelope_fields.models import MasterKey
from envelope_fields.testing import stored
from tests.census.schemas import TABLE, as_bound_role, execute, make_schema
from tests.models import LabNote, Note
from tests.settings import ENVELOPE_FIELDS

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL has schemas"),
]


def counts():
    return {(row.schema, row.values) for row in census() if row.field == "text"}


def limited_to(*schemas):
    return override_settings(ENVELOPE_FIELDS={**ENVELOPE_FIELDS, "SCHEMAS": list(schemas)})


def test_one_schema_has_no_name():
    Note.objects.create(text="a", data=None)
    assert counts() == {(None, 1)}


def test_every_schema_is_counted_by_its_name():
    make_schema("acme", texts=["a"])
    make_schema('we"ird % schema', texts=["b", "c"])
    Note.objects.create(text="d", data=None)
    assert counts() == {("public", 1), ("acme", 1), ('we"ird % schema', 2)}


def test_a_table_that_no_search_path_finds_is_counted():
    make_schema("acme", texts=["a"])
    execute("SET LOCAL search_path = acme")
    execute("ALTER TABLE public.envelope_fields_masterkey SET SCHEMA acme",
            "ALTER TABLE public.envelope_fields_masterkeyversion SET SCHEMA acme")  # fmt: skip
    execute("SET LOCAL search_path = acme, nowhere")
    assert ("acme", 1) in counts()
    assert {schema for schema, _ in counts()} == {"acme"}


def test_a_temporary_table_does_not_stand_in_for_the_table():
    Note.objects.create(text="a", data=None)
    execute(f"CREATE TEMPORARY TABLE {TABLE} (LIKE public.{TABLE})")
    assert counts() == {("public", 1)}


def test_a_key_with_values_in_another_schema_is_not_deleted():
    create_master_key("lab")
    note = LabNote.objects.create(text="a")
    execute("CREATE SCHEMA acme", "ALTER TABLE tests_labnote SET SCHEMA acme")
    assert stored_in("acme.tests_labnote", note.pk)
    with pytest.raises(KeyInUse, match=r"LabNote\.text in the schema 'acme' of"):
        schedule_deletion("lab")
    assert MasterKey.objects.get(alias="lab").state == "enabled"


def stored_in(table, pk):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT text FROM {table} WHERE id = %s", [pk])
        return cursor.fetchone()[0]


def test_a_name_that_has_its_schema_with_it_means_no_other(monkeypatch):
    make_schema("acme", texts=["a"])
    Note.objects.create(text="b", data=None)
    monkeypatch.setattr(Note._meta, "db_table", '"acme"."tests_note"')
    assert counts() == {("acme", 1)}


def test_columns_of_other_types_and_names_are_others():
    execute("CREATE SCHEMA acme", f"CREATE TABLE acme.{TABLE} (text text, data text)")
    execute("CREATE SCHEMA early", f"CREATE TABLE early.{TABLE} (title text)")
    Note.objects.create(text="a", data=None)
    assert counts() == {(None, 1)}


def test_a_column_that_was_not_renamed_yet_is_named():
    """Tenants are migrated one after the other."""
    make_schema("north", texts=["a"])
    execute(f"ALTER TABLE north.{TABLE} RENAME COLUMN text TO words")
    (found,) = not_counted()
    assert found.location == f"north.{TABLE}.words"
    assert "not migrated yet; it holds 1 value" in found.reason
    with pytest.raises(ConfirmationRequired, match="not migrated yet"):
        schedule_deletion("default")


def test_a_column_of_a_domain_of_bytes_is_counted():
    execute("CREATE SCHEMA acme", "CREATE DOMAIN acme.secret AS bytea",
            f"CREATE TABLE acme.{TABLE} (id bigint, text acme.secret)")  # fmt: skip
    note = Note.objects.create(text="a", data=None)
    execute(f"INSERT INTO acme.{TABLE} SELECT id, text FROM {TABLE}")
    note.delete()
    assert counts() == {("acme", 1)}


def test_a_schema_that_may_not_be_read_is_named_and_refuses():
    make_schema("acme", texts=["a"])
    with as_bound_role():
        with pytest.raises(CensusFailed, match=r"may not read acme\.tests_note\.(text|data)"):
            census()
        with limited_to("public"):
            assert census() == []
            (left_out,) = [
                each for each in not_counted() if each.location == "acme.tests_note.text"
            ]
    assert "could not be counted" in left_out.reason


def test_a_table_that_may_not_be_read_is_named_and_refuses():
    make_schema("acme", texts=["a"])
    with (
        as_bound_role("GRANT USAGE ON SCHEMA acme TO PUBLIC"),
        pytest.raises(CensusFailed, match=r"may not read acme\.tests_note\.(text|data)"),
    ):
        census()


def test_settings_limit_the_schemas_and_what_they_leave_out_is_named():
    make_schema("acme", texts=["a"])
    make_schema("empty")
    make_schema("corp", texts=["b"])
    with limited_to("public", "corp"):
        assert counts() == {("corp", 1)}
        (left_out,) = not_counted()
    assert (left_out.database, left_out.location) == ("default", "acme.tests_note.text")
    assert 'left out by ENVELOPE_FIELDS["SCHEMAS"]; it holds 1 value' in left_out.reason


def tenants(database):
    assert database in ("default", "other")
    return ["acme"]


def test_a_function_may_say_which_schemas():
    make_schema("acme", texts=["a"])
    make_schema("corp", texts=["b"])
    path = f"{__name__}.tenants"
    with override_settings(ENVELOPE_FIELDS={**ENVELOPE_FIELDS, "SCHEMAS": path}):
        assert counts() == {("acme", 1)}


def after_the_tables_were_found(statement):
    """Run a statement between the look into the catalogue and the count."""

    def look_and_execute(execute_, sql, *rest):
        result = execute_(sql, *rest)
        if "row_security_active" in sql:
            with connection.connection.cursor() as cursor:
                cursor.execute(statement)
        return result

    return connection.execute_wrapper(look_and_execute)


def test_a_schema_that_is_renamed_meanwhile_is_never_counted_as_nothing():
    make_schema("acme", texts=["a"])
    with (
        after_the_tables_were_found("ALTER SCHEMA acme RENAME TO corp"),
        pytest.raises(CensusFailed, match=r"acme\.tests_note\.\w+ was renamed meanwhile"),
    ):
        census(database="default")


def test_a_schema_that_is_dropped_meanwhile_holds_nothing():
    make_schema("acme", texts=["a"])
    with after_the_tables_were_found("DROP SCHEMA acme CASCADE"):
        assert census(database="default") == []


def test_no_locks_are_kept_in_the_transaction_of_a_caller():
    """Those of thousands of tables would exhaust the server's table of locks."""
    make_schema("acme", texts=["a"])
    census(database="default")
    not_counted("default")
    with connection.cursor() as cursor:
        cursor.execute("SELECT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid()")
        locked = {name for (name,) in cursor}
    assert TABLE in locked
    assert locked.isdisjoint({"tests_hidden", "tests_place", "tests_uuidkeyed"}), "only counted"


def test_a_note_reads_back_from_where_it_lies():
    make_schema("acme", texts=["a"])
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM acme.{TABLE}")
        pk = cursor.fetchone()[0]
    execute("SET LOCAL search_path = acme, public")
    note = Note.objects.get(pk=pk)
    assert note.text == "a"
    assert stored(note, "text")[:1] == b"\x01"
