"""What is neither counted nor known to be empty is named."""

import os
from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.apps import apps
from django.db import connection, models
from django.test.utils import CaptureQueriesContext, isolate_apps

from envelope_fields.census import CensusFailed, NotCounted, census, columns, not_counted, uncounted
from envelope_fields.databases import postgresql
from envelope_fields.fields import EncryptedTextField
from envelope_fields.lifecycle import KeyInUse, rotate_master_key, schedule_deletion
from envelope_fields.models import MasterKey
from envelope_fields.rotation import RotationState, progress, run
from envelope_fields.testing import stored
from tests.at_once import Transaction
from tests.census.schemas import execute
from tests.models import Note
from tests.models.keyed import only

pytestmark = pytest.mark.django_db(databases="__all__")

only_postgresql = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="only PostgreSQL has them"
)
TABLE = Note._meta.db_table
LOCKING = {"postgresql": "LOCK TABLE odd", "mysql": "LOCK TABLES odd WRITE"}


@pytest.fixture
def also(monkeypatch):
    """Install more models for the census, and for nothing else."""

    def install(**options):
        with isolate_apps("tests"):

            class Odd(models.Model):
                words = EncryptedTextField()

                class Meta:
                    app_label = "tests"
                    managed = False

        vars(Odd._meta).update(options)
        installed = list(apps.get_models(include_auto_created=True, include_swapped=True))
        monkeypatch.setattr(
            "envelope_fields.census.columns.apps.get_models", lambda **_: [*installed, Odd]
        )

    return install


def named(place):
    return [each for each in not_counted() if place in each.location]


def literal(note):
    envelope = stored(note, "text").hex()
    return rf"'\x{envelope}'::bytea" if connection.vendor == "postgresql" else f"x'{envelope}'"


def test_where_all_is_counted_nothing_is_named():
    Note.objects.create(text="a", data=None)
    assert not_counted() == []
    assert not_counted("other") == []


def test_a_table_that_is_nowhere(also):
    also(db_table="nowhere")
    (found,) = not_counted()
    assert found == NotCounted(
        "default", "nowhere.words", "tests.Odd.words has no table in any database"
    )
    assert str(found) == (
        "nowhere.words in the database 'default': tests.Odd.words has no table in any database"
    )
    assert not_counted("other") == [], "it may be in the default one"


def test_each_database_is_looked_at_once(also, monkeypatch):
    """More columns make no more queries, and keys are asked for by what was found alone."""

    def queries():
        with CaptureQueriesContext(connection) as captured:
            not_counted("default")
        return len(captured)

    also(db_table=TABLE)
    before = queries()
    declared = list(columns.stored_columns("default"))
    more = [replace(each, schema=each.schema) for each in declared for _ in range(3)]
    monkeypatch.setattr(uncounted, "stored_columns", lambda _: iter(more))
    assert queries() == before <= 9


def test_a_model_that_is_swapped_has_no_table(also):
    also(db_table="nowhere", swappable="TESTS_ODD_MODEL", swapped="tests.Note")
    assert not_counted() == []


@contextmanager
def made(kind, name, definition):
    """Make a view or a table; MariaDB commits, so that it is dropped by name."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE {kind} {name} AS {definition}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP {kind} {name}")


class TestCommitting:
    """MariaDB commits before and after each CREATE and DROP."""

    pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)

    def test_a_view_under_the_name_is_counted_and_named(self, also):
        note = Note.objects.create(text="a", data=None)
        also(db_table="odd_view")
        with made("VIEW", "odd_view", f"SELECT id, text AS words FROM {TABLE}"):
            (found,) = named("odd_view")
            assert "a view, which may leave rows out" in found.reason
            assert ("tests.Odd", 1) in {(row.model, row.values) for row in census()}
            note.delete()
            assert named("odd_view") == [found], "nobody knows what it leaves out"

    def test_a_copy_is_named_while_it_holds_values(self):
        Note.objects.create(text="a", data=None)
        with made("TABLE", "odd_copy", f"SELECT * FROM {TABLE}"):
            (found,) = named("odd_copy")
            assert found.location.endswith("odd_copy.text")
            assert "holds 1 value under key versions that are known" in found.reason
            with connection.cursor() as cursor:
                cursor.execute("UPDATE odd_copy SET text = 'plain'")
            assert named("odd_copy") == []

    def test_a_copy_under_other_names_is_named(self, also):
        """But for columns of models, whose fields say that they store something else."""
        Note.objects.create(text="a", data=None)
        with made("TABLE", "odd_archive", f"SELECT id, text AS was FROM {TABLE}"):
            (found,) = not_counted()
            assert found.location.endswith("odd_archive.was")
            assert "a table that no model declares" in found.reason
            also(db_table="odd_archive", local_concrete_fields=[self.plain("was")])
            assert not_counted() == []

    @staticmethod
    def plain(name):
        field = models.BinaryField()
        field.set_attributes_from_name(name)
        return field

    def test_a_column_that_the_model_has_no_more_is_named(self):
        note = Note.objects.create(text="a", data=None)
        binary = Note._meta.get_field("text").db_type(connection)
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {TABLE} ADD COLUMN was_text {binary} NULL")
        try:
            assert named("was_text") == []
            with connection.cursor() as cursor:
                cursor.execute(f"UPDATE {TABLE} SET was_text = text")
            (found,) = named("was_text")
            assert "a column that no model declares" in found.reason
            note.delete()
            assert named("was_text") == []
        finally:
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER TABLE {TABLE} DROP COLUMN was_text")


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="of others, both are counted")
def test_a_temporary_table_in_front_of_a_table():
    Note.objects.create(text="a", data=None)
    execute(f"CREATE TEMPORARY TABLE {TABLE} AS SELECT * FROM {TABLE} WHERE 0")
    try:
        assert census() == []
        assert {each.location for each in named(TABLE)} == {f"{TABLE}.data", f"{TABLE}.text"}
    finally:
        execute(f"DROP TABLE temp.{TABLE}")


@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has one lock for all tables")
@pytest.mark.django_db(databases="__all__", transaction=True)
def test_a_table_of_others_that_is_locked(monkeypatch):
    """Named after a while, and not waited for: it has nothing to do with us."""
    monkeypatch.setattr("envelope_fields.databases.transactions.LOCK_SECONDS", 1)
    binary = Note._meta.get_field("text").db_type(connection)
    execute(f"CREATE TABLE odd (words {binary})")
    try:
        with Transaction(lambda: execute(LOCKING[connection.vendor])):
            (found,) = named("odd")
            assert "could not be counted" in found.reason
    finally:
        execute("DROP TABLE odd")


@only_postgresql
class TestPartitions:
    def make(self):
        execute(
            f"ALTER TABLE {TABLE} RENAME TO notes_2024",
            f"CREATE TABLE {TABLE} (LIKE notes_2024) PARTITION BY RANGE (id)",
            f"ALTER TABLE {TABLE} ATTACH PARTITION notes_2024 FOR VALUES FROM (1) TO (100000000)",
        )

    def test_they_are_counted_with_their_table(self):
        Note.objects.create(text="a", data=None)
        self.make()
        assert [(row.model, row.schema, row.values) for row in census()] == [
            ("tests.Note", None, 1)
        ]
        assert not_counted() == []

    def test_also_in_another_schema_under_the_same_name(self):
        Note.objects.create(text="a", data=None)
        self.make()
        execute("CREATE SCHEMA old", "ALTER TABLE notes_2024 SET SCHEMA old",
                f"ALTER TABLE old.notes_2024 RENAME TO {TABLE}")  # fmt: skip
        assert [(row.model, row.schema, row.values) for row in census()] == [
            ("tests.Note", None, 1)
        ]
        assert not_counted() == []

    def test_detached_it_is_named(self):
        Note.objects.create(text="a", data={"a": 1})
        self.make()
        execute(f"ALTER TABLE {TABLE} DETACH PARTITION notes_2024")
        assert census() == []
        assert [each.location for each in not_counted()] == [
            "public.notes_2024.data",
            "public.notes_2024.text",
        ]

    def test_detached_and_empty_it_is_not(self):
        self.make()
        execute(f"ALTER TABLE {TABLE} DETACH PARTITION notes_2024")
        assert not_counted() == []

    def test_a_table_that_inherits_is_counted_with_its_parent(self):
        note = Note.objects.create(text="a", data=None)
        execute(
            f"CREATE TABLE heirs () INHERITS ({TABLE})",
            f"INSERT INTO heirs SELECT * FROM ONLY {TABLE} WHERE id = {note.pk}",
            f"DELETE FROM ONLY {TABLE}",
        )
        assert [row.values for row in census()] == [1]
        assert not_counted() == []


SILENT = "CREATE FOREIGN DATA WRAPPER silent"


@only_postgresql
class TestElsewhere:
    def test_a_materialized_view_under_the_name(self, also):
        Note.objects.create(text="a", data=None)
        execute(f"CREATE MATERIALIZED VIEW odd AS SELECT id, text AS words FROM {TABLE}")
        also(db_table="odd")
        (found,) = not_counted()
        assert "a materialized view" in found.reason
        assert "tests.Odd" in {row.model for row in census()}

    def test_a_materialized_view_of_other_names(self):
        Note.objects.create(text="a", data=None)
        execute(f"CREATE MATERIALIZED VIEW odd AS SELECT id, text AS words FROM {TABLE}")
        (found,) = not_counted()
        assert found.location == "public.odd.words"
        assert "a materialized view" in found.reason

    def test_a_domain_of_a_domain(self):
        """In another schema, where a table is found by the types of its columns."""
        Note.objects.create(text="a", data=None)
        execute("CREATE DOMAIN bare AS bytea", "CREATE DOMAIN sealed AS bare",
                "CREATE SCHEMA old", f"CREATE TABLE old.{TABLE} (id bigint, text sealed)",
                f"INSERT INTO old.{TABLE} SELECT id, text FROM {TABLE}")  # fmt: skip
        assert [(row.schema, row.values) for row in census()] == [("old", 1), ("public", 1)]

    def test_a_foreign_table_that_does_not_answer(self, also):
        execute(SILENT, "CREATE SERVER far FOREIGN DATA WRAPPER silent",
                "CREATE FOREIGN TABLE odd (id bigint, words bytea) SERVER far")  # fmt: skip
        also(db_table="odd")
        (found,) = not_counted()
        assert "a foreign table" in found.reason
        with pytest.raises(
            CensusFailed, match=r"tests\.Odd\.words could not be counted.*public\.odd"
        ):
            census()

    def test_another_foreign_table_that_does_not_answer(self):
        execute(SILENT, "CREATE SERVER far FOREIGN DATA WRAPPER silent",
                "CREATE FOREIGN TABLE odd (id bigint, text bytea) SERVER far")  # fmt: skip
        (found,) = not_counted()
        assert "could not be counted" in found.reason

    def test_a_foreign_partition(self):
        TestPartitions().make()
        execute(SILENT, "CREATE SERVER far FOREIGN DATA WRAPPER silent",
                f"CREATE FOREIGN TABLE far PARTITION OF {TABLE} "
                "FOR VALUES FROM (100000000) TO (200000000) SERVER far")  # fmt: skip
        assert {each.location for each in not_counted()} == {"public.far.text", "public.far.data"}
        with pytest.raises(CensusFailed, match=r"tests\.Note"):
            census()

    def test_a_prepared_transaction_fails_the_count(self, monkeypatch):
        """Most servers are set up to refuse them, so that the view of them has to be another."""
        execute(
            "CREATE TABLE prepared_ones AS SELECT *, 'what an app calls it'::text AS name "
            "FROM pg_prepared_xacts"
        )
        monkeypatch.setattr(postgresql, "PREPARED", "prepared_ones")
        Note.objects.create(text="a", data=None)
        execute("INSERT INTO prepared_ones (gid, database) VALUES ('tx', 'another')")
        assert [row.values for row in census(database="default")] == [1]
        execute("INSERT INTO prepared_ones (gid, database) VALUES ('tx', current_database())")
        with pytest.raises(CensusFailed, match=r"'default' could not be counted: .*'tx'"):
            census(database="default")


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="MariaDB keeps history, and has XA")
class TestMariaDB:
    pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)

    def test_rows_of_the_past_count(self, also):
        also(db_table="odd_versioned")
        note = Note.objects.create(text="a", data=None)
        other = b"\x01" + os.urandom(200)
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE odd_versioned (id bigint PRIMARY KEY, words longblob) "
                "WITH SYSTEM VERSIONING"
            )
            try:
                cursor.execute(f"INSERT INTO odd_versioned VALUES (1, {literal(note)}), (2, NULL)")
                assert self.counted() == [(1, 0)]
                cursor.execute("UPDATE odd_versioned SET words = %s WHERE id = 1", [other])
                assert self.counted() == [(1, 1), (1, 0)]
                cursor.execute("DELETE FROM odd_versioned")
                assert self.counted() == [(1, 1), (1, 1)]
                assert not_counted() == []
                cursor.execute("DELETE HISTORY FROM odd_versioned")
                assert self.counted() == []
            finally:
                cursor.execute("DROP TABLE odd_versioned")

    def test_a_rotation_moves_the_present_and_ends(self, monkeypatch):
        """The past stays under the old version, which is not deleted before it is removed."""
        monkeypatch.setattr("envelope_fields.census.columns.apps", only(Note))
        try:
            execute(f"ALTER TABLE {TABLE} ADD SYSTEM VERSIONING")
            Note.objects.create(text="a", data=None)
            old = MasterKey.objects.get(alias="default").current_version
            rotate_master_key("default")
            done = run("default")
            assert (done.state, progress(done).moved) == (RotationState.COMPLETED, 1)
            assert [(row.values, row.history) for row in census(old)] == [(1, 1)]
            with pytest.raises(KeyInUse, match=r"\(1, 1 in the past alone, for DELETE HISTORY"):
                schedule_deletion(old)
            execute(f"DELETE HISTORY FROM {TABLE}")
            assert census(old) == []
        finally:
            execute(f"ALTER TABLE {TABLE} DROP SYSTEM VERSIONING")

    def counted(self):
        return [(row.values, row.history) for row in census() if row.model == "tests.Odd"]

    def test_a_prepared_transaction_is_named(self, monkeypatch):
        """It may be of any database of the server, and the others test theirs at the same time."""
        fetch = type(self)._fetch
        monkeypatch.setattr("envelope_fields.databases.mysql.MySQL.fetch", fetch)
        (found, other) = not_counted()
        assert (found.database, found.location) == ("default", "")
        assert other.database == "other"
        assert "XA RECOVER" in found.reason

    @staticmethod
    def _fetch(database, sql, params=None):
        with database.connection.cursor() as cursor:
            cursor.execute(sql, params)
            found = list(cursor.fetchall())
        return [(1, 2, 0, "tx")] if sql == "XA RECOVER" else found
