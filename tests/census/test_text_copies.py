"""Envelopes that other columns hold as text, as packages do that keep revisions and logs."""

import json
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.utils import timezone

from envelope_fields.census import CensusFailed, text_copies as module
from envelope_fields.census.text_copies import TextCopies, text_copies
from envelope_fields.crypto.format import encode_text
from envelope_fields.databases import VENDORS
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.lifecycle.witnesses import Confirmed, Witnesses
from envelope_fields.models import MasterKey, MasterKeyVersion
from tests.models import Note
from tests.models.twins import PLAIN
from tests.stored import stored

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def default():
    return MasterKey.objects.get()


def envelope():
    """Return an envelope as text, under the default key as it is now."""
    note = Note.objects.create(text="a", data=None)
    text = encode_text(bytes(stored(note, "text")))
    note.delete()
    return text


def as_escape(value):
    """Return bytes as PostgreSQL shows them where `bytea_output` is escape."""
    return "".join(
        "\\\\" if byte == 0x5C else chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
        for byte in value
    )


def log(message, using="default"):
    users = get_user_model().objects.db_manager(using)
    user = users.filter(username="ann").first() or users.create_user("ann")
    return LogEntry.objects.using(using).create(user=user, action_flag=1, change_message=message)


def found(*versions):
    return [
        (each.database, f"{each.model}.{each.field}", each.rows)
        for each in text_copies(bytes(version.version_id) for version in versions)
    ]


class TestText:
    def test_alone_and_inside_of_json(self, default):
        text = envelope()
        log(text)
        log(json.dumps([{"fields": {"notes": text, "again": text}}]))
        log("nothing")
        assert found(default.current_version) == [("default", "admin.LogEntry.change_message", 2)]

    @pytest.mark.parametrize("shown", ["hex", "escape"])
    def test_as_a_trigger_writes_a_row(self, default, shown):
        note = Note.objects.create(text="a", data=None)
        envelope = bytes(stored(note, "text"))
        text = rf"\x{envelope.hex()}" if shown == "hex" else as_escape(envelope)
        row = json.dumps({"text": text})
        log(text)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL bytea_output = {shown}")
                cursor.execute(f"SELECT to_jsonb(note)::text FROM {Note._meta.db_table} AS note")
                [[row]] = cursor.fetchall()
        log(row)
        PLAIN.topic.objects.create(name="a", data={"before": json.loads(row)})
        assert {(column, rows) for _, column, rows in found(default.current_version)} == {
            ("admin.LogEntry.change_message", 2),
            (f"{PLAIN.topic._meta.label}.data", 1),
        }

    def test_in_a_json_column(self, default):
        PLAIN.topic.objects.create(name="a", data={"before": [{"notes": envelope()}]})
        [(database, column, rows)] = found(default.current_version)
        assert (database, rows) == ("default", 1)
        assert column.endswith("PlainTopic.data")

    def test_in_another_database(self, default):
        log(envelope(), "other")
        assert found(default.current_version) == [("other", "admin.LogEntry.change_message", 1)]

    def test_with_names_of_schemas_in_the_settings(self, default, settings):
        log(envelope())
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "SCHEMAS": ["public"]}
        assert len(found(default.current_version)) == 1

    def test_letters_are_told_apart(self, default):
        log(envelope().swapcase().replace("ENVELOPE:", "envelope:"))
        assert found(default.current_version) == []

    def test_versions_are_told_apart(self, default):
        old = default.current_version
        log(envelope())
        new = rotate_master_key(default)
        log(envelope())
        log(envelope())
        each = {copies.version_id: copies.rows for copies in text_copies(ids(old, new))}
        assert each == {bytes(old.version_id): 1, bytes(new.version_id): 2}

    def test_more_versions_than_fit_a_query(self, default, monkeypatch):
        monkeypatch.setattr(module, "VERSIONS_AT_ONCE", 2)
        log(envelope())
        for number in range(4):
            create_master_key(f"key-{number}")
        assert len(found(*MasterKeyVersion.objects.all())) == 1

    def test_an_encrypted_column_is_none(self, default):
        """There, they are values, which the census counts."""
        Note.objects.create(text="a")
        assert found(default.current_version) == []

    def test_a_column_that_cannot_be_searched(self, default, monkeypatch):
        def fail(*_):
            raise DatabaseError("no")

        for vendor in VENDORS.values():
            monkeypatch.setattr(vendor, "HOLDS", "nothing_like_it({column}, %s)")
        with pytest.raises(CensusFailed, match="could not be searched"):
            found(default.current_version)


def ids(*versions):
    return [bytes(version.version_id) for version in versions]


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="the others have no schemas")
class TestSchemas:
    TABLE = LogEntry._meta.db_table

    @pytest.fixture(autouse=True)
    def tenant(self):
        with connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA north")
            cursor.execute(f"CREATE TABLE north.{self.TABLE} (LIKE {self.TABLE} INCLUDING ALL)")

    def move(self):
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO north.{self.TABLE} SELECT * FROM {self.TABLE}")
            cursor.execute(f"DELETE FROM {self.TABLE}")

    def test_they_are_found_in_each(self, default):
        log(envelope())
        self.move()
        log(envelope())
        log(envelope())
        copies = text_copies(ids(default.current_version), database="default")
        assert [(each.schema, each.rows) for each in copies] == [("north", 1), ("public", 2)]
        assert "in the schema 'north' of the database 'default' (1)" in str(copies[0])

    def test_the_command_names_them(self, default):
        log(envelope())
        self.move()
        output = StringIO()
        call_command("census", "--text", stdout=output)
        assert "default   north   admin.LogEntry  change_message" in output.getvalue()
        output = StringIO()
        call_command("census", "--text", "--json", stdout=output)
        assert [each["schema"] for each in json.loads(output.getvalue())["text"]] == ["north"]

    def test_more_of_them_in_one_void_a_confirmation(self, default):
        """However many there were in another."""
        key = create_master_key("tenant")
        known = [copies("north", 1), copies("south", 5)]
        confirmed = Confirmed(timezone.now(), Witnesses(key, None, None, known, ()).content())
        assert [*confirmed.later(Witnesses(key, None, None, known, ()))] == []
        later = [copies("north", 2), copies("south", 5)]
        [news] = confirmed.later(Witnesses(key, None, None, later, ()))
        assert "copied as text since" in news
        assert "south" not in news

    def test_one_that_lacks_a_column_is_searched_all_the_same(self, default):
        """As that of a tenant whose migrations have not been run yet."""
        log(envelope())
        self.move()
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE north.{self.TABLE} DROP COLUMN object_repr")
        assert found(default.current_version) == [("default", "admin.LogEntry.change_message", 1)]

    def test_a_view_in_the_place_of_the_table(self, default):
        log(envelope())
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {self.TABLE} RENAME TO moved")
            cursor.execute(f"CREATE VIEW {self.TABLE} AS SELECT * FROM moved")
        assert found(default.current_version) == [("default", "admin.LogEntry.change_message", 1)]

    def test_the_settings_leave_one_out(self, default, settings):
        log(envelope())
        self.move()
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "SCHEMAS": ["public"]}
        assert found(default.current_version) == []


def copies(schema, rows):
    return TextCopies("default", "admin.LogEntry", "change_message", b"12345678", rows, schema)


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="MariaDB alone keeps history")
@pytest.mark.django_db(databases="__all__", transaction=True)
def test_rows_of_the_past(default):
    log(envelope())
    table = LogEntry._meta.db_table
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"ALTER TABLE {table} ADD SYSTEM VERSIONING")
            cursor.execute(f"DELETE FROM {table}")
            assert len(found(default.current_version)) == 1
            cursor.execute(f"DELETE HISTORY FROM {table}")
            assert found(default.current_version) == []
        finally:
            cursor.execute(f"ALTER TABLE {table} DROP SYSTEM VERSIONING")


class TestCommand:
    def run(self, *arguments):
        output = StringIO()
        call_command("census", *arguments, stdout=output)
        return output.getvalue()

    def test_it_names_column_and_count(self, default):
        log(envelope())
        lines = self.run("--text").splitlines()
        line = next(line for line in lines if "change_message" in line)
        hexed = bytes(default.current_version.version_id).hex()
        assert line.split() == [
            "default", "admin.LogEntry", "change_message", "default", "1", hexed, "1",
        ]  # fmt: skip

    def test_nothing(self):
        assert "No text or JSON column of an installed model" in self.run("--text")
        assert "JSON column" not in self.run()

    def test_json(self, default):
        log(envelope())
        [copies] = json.loads(self.run("--text", "--json"))["text"]
        assert (copies["field"], copies["key"], copies["number"], copies["rows"]) == (
            "change_message", "default", 1, 1,
        )  # fmt: skip
        assert "text" not in json.loads(self.run("--json"))

    def test_of_one_key_and_database(self, default):
        log(envelope())
        create_master_key("lab")
        assert json.loads(self.run("--text", "--json", "--key", "lab"))["text"] == []
        assert json.loads(self.run("--text", "--json", "--database", "other"))["text"] == []
