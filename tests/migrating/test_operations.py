"""Operations for the migrations of projects."""

import pytest
from django.db import connection
from django.db.migrations.state import ProjectState

from envelope_fields.operations import StoreExternally
from tests.models import OddNames

pytestmark = pytest.mark.django_db(transaction=True)

TABLE, COLUMN = OddNames._meta.db_table, OddNames._meta.get_field("text").column


def storage():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attstorage FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s",
            [connection.ops.quote_name(TABLE), COLUMN],
        )
        return cursor.fetchone()[0]


def run(direction):
    from django.apps import apps

    state = ProjectState.from_apps(apps)
    operation = StoreExternally("OddNames", "text")
    with connection.schema_editor() as editor:
        getattr(operation, f"database_{direction}")("tests", editor, state, state)


def test_storage_of_a_column():
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL alone has it")
    assert storage() == "x"
    run("forwards")
    try:
        assert storage() == "e"
        row = OddNames.objects.create(text="x" * 10_000, data=None)
        assert OddNames.objects.get(pk=row.pk).text == "x" * 10_000
    finally:
        run("backwards")
    assert storage() == "x"


def test_others_are_left_alone():
    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL has it")
    run("forwards")
    run("backwards")


def test_it_is_written_into_migrations():
    from django.db.migrations.writer import OperationWriter

    text, imports = OperationWriter(StoreExternally("Note", "text")).serialize()
    assert "envelope_fields.operations.StoreExternally(" in text
    assert "import envelope_fields.operations" in imports
    assert StoreExternally("Note", "text").describe() == "Store field text of Note externally"
    assert StoreExternally("Note", "text").migration_name_fragment == "store_note_text_externally"
