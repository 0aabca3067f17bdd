import os

import pytest
from django.apps import apps
from django.db import connection, connections, models, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext, isolate_apps, override_settings

from envelope_fields import keyring, rotation
from envelope_fields.census import CensusFailed
from envelope_fields.census.columns import encrypted_columns, index_columns
from envelope_fields.census.values import key_versions
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.fields import EncryptedTextField
from envelope_fields.lifecycle import create_master_key, disable, rotate_master_key
from envelope_fields.models import MasterKey
from envelope_fields.rotation import census
from envelope_fields.testing import stored
from tests.models import FirstDated, Hidden, Note, Place, PlaceProxy, Restaurant, SecondDated

pytestmark = pytest.mark.django_db(databases="__all__")


def quoted(*names):
    return [connection.ops.quote_name(name) for name in names]


def put(note, value):
    """Store bytes as they are, past the field."""
    table, column = quoted(Note._meta.db_table, "text")
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = %s WHERE id = %s", [value, note.pk])


def counts(rows):
    return {
        (row.database, row.model, row.field, row.version and row.version.number): row.values
        for row in rows
    }


@pytest.fixture
def version():
    return MasterKey.objects.get(alias="default").current_version


def test_nothing_stored_is_nothing_counted():
    assert census() == []


def test_a_row_says_what_is_stored_under_which_version(version):
    Note.objects.create(text="a", data=None)
    Note.objects.create(text="", data={"a": 1})
    text = next(row for row in census() if row.field == "text")
    data = next(row for row in census() if row.field == "data")

    assert (text.database, text.model, text.values) == ("default", "tests.Note", 2)
    assert data.values == 1, "NULL is not a value"
    assert text.version_id == bytes(version.version_id)
    assert text.version.key_alias == "default"
    assert text.version.key_id == version.master_key_id
    assert (text.version.number, text.version.state, text.version.is_current) == (
        1,
        "enabled",
        True,
    )


def test_rotation_leaves_values_under_their_versions():
    Note.objects.create(text="a", data=None)
    rotate_master_key("default")
    Note.objects.create(text="b", data=None)
    Note.objects.create(text="c", data=None)
    assert counts(census()) == {
        ("default", "tests.Note", "text", 1): 1,
        ("default", "tests.Note", "text", 2): 2,
    }
    assert [row.version.is_current for row in census()] == [False, True]


def test_no_root_key_is_needed():
    Note.objects.create(text="a", data=None)
    keyring.evict()
    with override_settings(ENVELOPE_FIELDS={"ROOT_KEYS": {}}):
        assert counts(census()) == {("default", "tests.Note", "text", 1): 1}


def test_every_database_is_counted():
    create_master_key("else")
    Note.objects.using("other").create(text="a", data=None)
    assert counts(census()) == {("other", "tests.Note", "text", 1): 1}
    assert census(database="default") == []
    assert len(census(database="other")) == 1


class OnlyDefault:
    def allow_migrate(self, db, app_label, **hints):
        return db == "default" if app_label == "tests" else None


def test_the_router_says_where_models_live():
    Note.objects.using("other").create(text="a", data=None)
    with override_settings(DATABASE_ROUTERS=["tests.census.test_counts.OnlyDefault"]):
        assert census() == []


def test_an_empty_database_entry_is_left_out(settings, monkeypatch):
    class Dummy:
        vendor = "unknown"

    monkeypatch.setattr("envelope_fields.census.columns.connections", {"default": Dummy()})
    assert census() == []


def test_a_key_or_version_picks_its_values():
    Note.objects.create(text="a", data=None)
    first = MasterKey.objects.get(alias="default").current_version
    rotate_master_key("default")
    Note.objects.create(text="b", data=None)
    key = create_master_key("idle")

    assert census("idle") == census(key) == census(key.id) == []
    assert census("default") == census(first.master_key) == census()
    assert [row.version.number for row in census(first)] == [1]
    with pytest.raises(MasterKeyNotFound, match="absent"):
        census("absent")


def test_unknown_version_ids_are_listed(version):
    for byte in (b"\x11", b"\x11", b"\x22"):
        note = Note.objects.create(text="a", data=None)
        put(note, b"\x01" + byte * 8 + stored(note, "text")[9:])
    rows = census()
    assert [(row.version_id, row.version, row.values) for row in rows] == [
        (b"\x11" * 8, None, 2),
        (b"\x22" * 8, None, 1),
    ]
    assert census("default") == []


def test_what_is_no_envelope_is_one_row():
    envelope = stored(Note.objects.create(text="", data=None), "text")
    others = [
        b"plain text " * 20,
        b"other plain text " * 20,
        b"",
        b"\x01",
        envelope[:96],
        b"\x02" + envelope[1:],
        b"envelope:" + envelope,
    ]
    for other in others:
        put(Note.objects.create(text="", data=None), other)
    known, none = census()
    assert known.values == 1, "97 bytes are an envelope of the empty text"
    assert (none.version_id, none.version, none.values) == (None, None, len(others))


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="only SQLite keeps text there")
def test_text_in_the_column_is_no_envelope():
    put(Note.objects.create(text="", data=None), "\x01" + "a" * 200)
    assert [row.version_id for row in census()] == [None]


def test_version_ids_of_any_bytes_are_told_apart():
    ids = [
        bytes(8),
        b"\x00" * 7 + b" ",
        b"AAAAAAAA",
        b"aaaaaaaa",
        b"\xff" * 8,
        b"%s'\"\\\n\x00\x1a",
    ]
    for version_id in ids:
        put(Note.objects.create(text="", data=None), b"\x01" + version_id + os.urandom(88))
    assert {row.version_id: row.values for row in census()} == dict.fromkeys(ids, 1)


def test_managers_hide_nothing():
    QuerySet(Hidden).create(text="a")
    QuerySet(Hidden).create(text=None)
    assert counts(census()) == {("default", "tests.Hidden", "text", 1): 1}


def test_the_owner_of_an_inherited_column_is_counted_once():
    Restaurant.objects.create(secret="a", menu=["b"])
    PlaceProxy.objects.create(secret="c")
    Place.objects.create(secret="d")
    FirstDated.objects.create(text="e")
    SecondDated.objects.create(text="f")
    assert counts(census()) == {
        ("default", "tests.FirstDated", "text", 1): 1,
        ("default", "tests.Place", "secret", 1): 3,
        ("default", "tests.Restaurant", "menu", 1): 1,
        ("default", "tests.SecondDated", "text", 1): 1,
    }


@pytest.fixture
def also(monkeypatch):
    """Install more models for the census, and for nothing else."""

    def install(*more):
        installed = list(apps.get_models(include_auto_created=True, include_swapped=True))
        monkeypatch.setattr(
            "envelope_fields.census.columns.apps.get_models", lambda **_: [*more, *installed]
        )

    return install


@pytest.mark.parametrize(
    ("table_name", "column_name"),
    [("a table", "Größe"), ("100% table", "col %s"), ("Table", "select"), ("o'clock", "(%%)")],
)
def test_odd_names(also, table_name, column_name):
    with isolate_apps("tests"):

        class Odd(models.Model):
            text = EncryptedTextField(db_column=column_name)

            class Meta:
                app_label = "tests"
                db_table = table_name

        also(Odd)
    envelope = stored(Note.objects.create(text="a", data=None), "text").hex()
    table, column = quoted(table_name, column_name)
    kind = Odd._meta.get_field("text").db_type(connection)
    literal = rf"'\x{envelope}'" if connection.vendor == "postgresql" else f"x'{envelope}'"
    with connection.cursor() as cursor:
        # Temporary, because making any other table commits on MariaDB. Without parameters,
        # because Django itself doubles no percent sign in a name.
        cursor.execute(f"CREATE TEMPORARY TABLE {table} ({column} {kind})")
        cursor.execute(f"INSERT INTO {table} ({column}) VALUES ({literal}), (NULL)")
        found = counts(census(database="default"))
        cursor.execute(f"DROP {'TEMPORARY ' * (connection.vendor == 'mysql')}TABLE {table}")
    assert found["default", "tests.Odd", "text", 1] == 1


def test_a_table_that_is_not_there_holds_nothing(also):
    with isolate_apps("tests"):

        class Absent(models.Model):
            text = EncryptedTextField()

            class Meta:
                app_label = "tests"
                db_table = "Not there % at all"

        also(Absent)
    Note.objects.create(text="a", data=None)
    with transaction.atomic():
        assert len(census()) == 1
    assert Note.objects.exists(), "the transaction goes on"


def test_a_column_that_is_not_there_is_an_error(also):
    with isolate_apps("tests"):

        class Early(models.Model):
            text = EncryptedTextField(db_column="not yet")

            class Meta:
                app_label = "tests"
                db_table = Note._meta.db_table

        also(Early)
    with pytest.raises(CensusFailed, match=r"tests\.Early\.text could not be counted.*migrate"):
        census()
    assert not Note.objects.exists(), "the transaction goes on"


def test_a_mirror_is_not_counted_twice(also):
    with isolate_apps("tests"):

        class Mirror(models.Model):
            words = EncryptedTextField(db_column="text", context="tests.note.text")

            class Meta:
                app_label = "tests"
                db_table = Note._meta.db_table
                managed = False

        also(Mirror)
    Note.objects.create(text="a", data=None)
    assert counts(census()) == {("default", "tests.Note", "text", 1): 1}


def test_an_unmanaged_model_is_counted(also):
    with isolate_apps("tests"):

        class Unmanaged(models.Model):
            title = EncryptedTextField()

            class Meta:
                app_label = "tests"
                db_table = Note._meta.db_table
                managed = False

        also(Unmanaged)
    Note.objects.create(title="plain", text="a", data=None)
    if connection.vendor == "postgresql":  # a text column there cannot hold bytes
        with pytest.raises(CensusFailed, match=r"tests\.Unmanaged\.title"):
            census()
    else:
        assert ("default", "tests.Unmanaged", "title", None) in counts(census())


def test_before_the_keys_are_migrated_versions_are_unknown(monkeypatch):
    Note.objects.create(text="a", data=None)
    monkeypatch.setattr("envelope_fields.models.MasterKeyVersion._meta.db_table", "not_there")
    assert key_versions() == []
    assert [row.version for row in census()] == [None]


def test_a_key_that_is_disabled_says_so(version):
    Note.objects.create(text="a", data=None)
    assert census()[0].version.state == "enabled"
    disable(version.master_key)
    assert census()[0].version.state == "disabled"


def test_one_query_a_column_and_few_others():
    for text in "abc":
        Note.objects.create(text=text, data=None)
    columns = len([*encrypted_columns("default"), *index_columns("default")])
    with CaptureQueriesContext(connections["default"]) as captured:
        census(database="default")
    selects = [query for query in captured if "SELECT" in query["sql"]]
    others = {"sqlite": 1, "mysql": 2, "postgresql": 3}  # keys, catalogue, what is prepared
    assert len(selects) == columns + others[connection.vendor]


def test_the_public_name():
    assert rotation.census is census
