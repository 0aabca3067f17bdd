"""Tables without transactions, and tables that a crash empties."""

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from envelope_fields.checks.tables import check_key_tables, check_tables
from envelope_fields.fields import EncryptedTextField

pytestmark = pytest.mark.django_db(transaction=True)

DEFAULT = ["default"]
TABLE = "engine table"


@pytest.fixture
def make_table(monkeypatch):
    """Return what makes a table, which the checks take for one of keys and of values."""
    with isolate_apps("tests"):

        class Kept(models.Model):
            text = EncryptedTextField()

            class Meta:
                app_label = "tests"
                db_table = TABLE

    quoted = connection.ops.quote_name(TABLE)
    monkeypatch.setattr("envelope_fields.checks.tables.checked_models", lambda _: [Kept])
    monkeypatch.setattr("envelope_fields.checks.tables._key_tables", lambda: [TABLE])

    def make(kind="", options="", columns="id integer"):
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE {kind} TABLE {quoted} ({columns}) {options}")

    yield make
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {quoted}")


def on(vendor):
    return pytest.mark.skipif(connection.vendor != vendor, reason=f"of {vendor}")


@on("mysql")
@pytest.mark.parametrize("kind", ["blob", "varbinary(300)", "text", "longblob"])
def test_a_column_that_lacks_room(make_table, kind):
    make_table(columns=f"id integer, text {kind}")
    found = check_tables(databases=DEFAULT)
    assert [each.id for each in found] == ["envelope_fields.W062"] * (kind != "longblob")
    for each in found:
        assert f"tests.Kept.text in the database 'default' is {kind.partition('(')[0]}" in each.msg


@on("postgresql")
@pytest.mark.parametrize(("kind", "found"), [("bytea", 0), ("sealed", 0), ("text", 1)])
def test_a_column_of_another_type(make_table, kind, found):
    with connection.cursor() as cursor:
        cursor.execute("CREATE DOMAIN sealed AS bytea")
        try:
            make_table(columns=f"id integer, text {kind}")
            assert len(check_tables(databases=DEFAULT)) == found
        finally:
            cursor.execute("DROP DOMAIN sealed CASCADE")


def test_tables_as_migrate_makes_them():
    assert check_key_tables(databases=DEFAULT) == []
    assert check_tables(databases=DEFAULT) == []


def test_a_table_that_is_not_there(make_table):
    assert check_key_tables(databases=DEFAULT) == []
    assert check_tables(databases=DEFAULT) == []


@pytest.mark.parametrize("databases", [None, [], ["other"]], ids=str)
def test_other_databases_are_left_alone(databases, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert check_key_tables(databases=databases) == []


def test_wrong_settings_are_left_to_their_own_check(settings):
    settings.ENVELOPE_FIELDS = {"DATABASE": "nowhere"}
    assert check_key_tables(databases=DEFAULT) == []


@on("mysql")
@pytest.mark.parametrize("engine", ["MyISAM", "Aria", "MEMORY"])
def test_a_table_without_transactions(make_table, engine):
    make_table(options=f"ENGINE = {engine}")
    [error] = check_key_tables(databases=DEFAULT)
    assert error.id == "envelope_fields.E061"
    assert f"{TABLE} ({engine})" in error.msg
    assert "ENGINE = InnoDB" in error.hint
    [warning] = check_tables(databases=DEFAULT)
    assert warning.id == "envelope_fields.W061"
    assert "tests.Kept.text" in warning.msg
    assert engine in warning.msg
    assert "ENGINE = InnoDB" in warning.hint


@on("mysql")
def test_keys_before_migrate_has_made_their_tables(make_table):
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION default_storage_engine = Aria")
        try:
            [error] = check_key_tables(databases=DEFAULT)
            make_table(options="ENGINE = InnoDB")
            assert check_key_tables(databases=DEFAULT) == []
        finally:
            cursor.execute("SET SESSION default_storage_engine = InnoDB")
    assert error.id == "envelope_fields.E061"
    assert "default_storage_engine is Aria" in error.msg
    assert "init_command" in error.hint


@on("postgresql")
@pytest.mark.parametrize("kind", ["UNLOGGED", "TEMPORARY"])
def test_keys_that_a_crash_would_take(make_table, kind):
    make_table(kind)
    [error] = check_key_tables(databases=DEFAULT)
    assert error.id == "envelope_fields.E061"
    assert f"{TABLE} ({kind})" in error.msg
    assert "SET LOGGED" in error.hint
    assert check_tables(databases=DEFAULT) == []  # whose values they are decides that


@on("sqlite")
def test_keys_without_a_journal(make_table, monkeypatch):
    make_table()
    monkeypatch.setattr(
        "envelope_fields.databases.sqlite.SQLite.fetch", lambda *_: [("off",)], raising=False
    )
    [error] = check_key_tables(databases=DEFAULT)
    assert error.id == "envelope_fields.E061"
    assert "journal_mode OFF" in error.msg
    assert "journal_mode" in error.hint
