"""`flush` and TRUNCATE, which would take the keys of values that stay elsewhere."""

from dataclasses import replace

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import utils

from envelope_fields.census import CensusFailed, NotCounted
from envelope_fields.census.text_copies import TextCopies
from envelope_fields.crypto.format import encode_text
from envelope_fields.management.commands import flush as command
from envelope_fields.migrating import refusals
from envelope_fields.models import AuditKey, MasterKey, MasterKeyVersion
from tests.models import Note
from tests.stored import stored

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def in_production(monkeypatch):
    """Nobody has set up a test environment; and nothing is flushed in the end."""
    monkeypatch.delattr(utils._TestState, "saved_data")
    flushed = []
    monkeypatch.setattr(
        command.flush.Command, "handle", lambda _, **options: flushed.append(options["database"])
    )
    return flushed


def flush(database="default"):
    call_command("flush", database=database, interactive=False, verbosity=0)


class TestInProduction:
    def test_values_in_another_database_stop_it(self, in_production):
        Note.objects.using("other").create(text="a", data={})
        with pytest.raises(CommandError, match=r"tests\.Note\.text in the database 'other' \(1\)"):
            flush()
        assert in_production == []

    def test_values_that_go_with_it_do_not(self, in_production):
        Note.objects.create(text="a")
        flush()
        assert in_production == ["default"]

    def test_nor_does_the_flush_of_a_database_without_keys(self, in_production):
        Note.objects.using("other").create(text="a")
        flush("other")
        assert in_production == ["other"]

    def test_values_of_unknown_keys_have_none_to_lose(self, in_production):
        note = Note.objects.using("other").create(text="a", data=None)
        Note.objects.using("other").filter(pk=note.pk).update(text="")
        MasterKeyVersion.objects.update(version_id=b"12345678")
        flush()
        assert in_production == ["default"]

    def test_those_of_a_table_that_is_not_flushed(self, in_production, monkeypatch):
        """Such as that of a model that Django does not manage."""
        Note.objects.create(text="a")
        monkeypatch.setattr(Note._meta, "managed", False)
        with pytest.raises(CommandError, match=r"tests\.Note\.text in the database 'default'"):
            flush()

    @pytest.mark.django_db(transaction=True, databases="__all__")
    def test_a_copy_of_a_table_in_the_database_that_is_flushed(self, in_production):
        Note.objects.create(text="a")
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE a_copy AS SELECT * FROM {Note._meta.db_table}")
        try:
            with pytest.raises(CommandError, match=r"a_copy.*in the database 'default'"):
                flush()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DROP TABLE a_copy")

    def test_copies_as_text(self, in_production):
        note = Note.objects.create(text="a", data=None)
        text = encode_text(bytes(stored(note, "text")))
        user = get_user_model().objects.db_manager("other").create_user("ann")
        LogEntry.objects.using("other").create(user=user, action_flag=1, change_message=text)
        with pytest.raises(CommandError, match=r"admin\.LogEntry\.change_message"):
            flush()

    def test_copies_as_text_in_a_schema_that_is_not_flushed(self, in_production, monkeypatch):
        copies = TextCopies("default", "admin.LogEntry", "change_message", b"12345678", 1, "tenant")
        monkeypatch.setattr(refusals, "text_copies", lambda _: [copies])
        with pytest.raises(CommandError, match=r"change_message in the schema 'tenant'"):
            flush()
        monkeypatch.setattr(refusals, "text_copies", lambda _: [replace(copies, schema=None)])
        flush()
        assert in_production == ["default"]

    def test_what_cannot_be_counted(self, in_production, monkeypatch):
        place = NotCounted("other", "clinic_patient", "it is a foreign table")
        monkeypatch.setattr(refusals, "not_counted", lambda: [place])
        with pytest.raises(CommandError, match="it is a foreign table"):
            flush()

        def fail():
            raise CensusFailed("no")

        monkeypatch.setattr(refusals, "census", fail)
        with pytest.raises(CommandError, match="no"):
            flush()
        assert in_production == []


def test_a_test_run_is_let_pass(django_assert_max_num_queries, monkeypatch):
    """Test cases flush often: it must neither stop them nor slow them down."""
    Note.objects.using("other").create(text="a")
    monkeypatch.setattr(command.flush.Command, "handle", lambda _, **options: None)
    with django_assert_max_num_queries(0):
        flush()


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="the others have no such trigger")
class TestTruncate:
    @pytest.fixture
    def cursor(self):
        with connection.cursor() as cursor:
            yield cursor

    @pytest.mark.parametrize("model", [MasterKey, MasterKeyVersion, AuditKey])
    def test_it_is_refused(self, cursor, model):
        before = set(model.objects.values_list("pk", flat=True))
        refused = pytest.raises(DatabaseError, match="every value under the keys")
        with refused, transaction.atomic():
            cursor.execute(f"TRUNCATE {model._meta.db_table} CASCADE")
        assert set(model.objects.values_list("pk", flat=True)) == before

    def test_a_session_may_allow_it(self, cursor):
        cursor.execute("SET envelope_fields.allow_truncate = 'on'")
        cursor.execute(f"TRUNCATE {MasterKey._meta.db_table} CASCADE")
        assert not MasterKey.objects.exists()

    def test_rows_may_be_deleted_as_before(self, cursor):
        """Test cases may be emptied row by row, with foreign keys off."""
        cursor.execute("SET session_replication_role = replica")
        try:
            cursor.execute(f"DELETE FROM {MasterKeyVersion._meta.db_table}")
        finally:
            cursor.execute("SET session_replication_role = DEFAULT")
        assert not MasterKeyVersion.objects.exists()


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_flush_itself_may():
    flush()
    Note.objects.create(text="a")
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT current_setting('envelope_fields.allow_truncate', true)")
            assert cursor.fetchone()[0] != "on"
