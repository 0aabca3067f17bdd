"""What changes of an encrypted field do to its table."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField
from tests.migrating.columns import add, alter, patient, tenant_or_default
from tests.models import DateDecoder

pytestmark = pytest.mark.with_our_tables

CHANGES = {
    "key": ("notes", EncryptedTextField(key="lab")),
    "callable key": ("notes", EncryptedTextField(key=tenant_or_default)),
    "context": ("notes", EncryptedTextField(context="pinned")),
    "previous_contexts": ("notes", EncryptedTextField(previous_contexts=["older"])),
    "encoder": ("record", EncryptedJSONField(encoder=DjangoJSONEncoder)),
    "decoder": ("record", EncryptedJSONField(decoder=DateDecoder)),
    "of Django": ("notes", EncryptedTextField(blank=True, verbose_name="x", help_text="y")),
}


@pytest.fixture
def rows(project):
    project.add("zzz_clinic", patient(notes=EncryptedTextField(), record=EncryptedJSONField()))
    project.migrate()
    project.rows("zzz_clinic", "Patient").create(notes="a", record=[1])
    project.rows("zzz_clinic", "Patient").create(notes="b", record=0)


def values(project):
    return list(project.rows("zzz_clinic", "Patient").values_list("notes", "record"))


def envelopes(project):
    return [project.column("zzz_clinic", "Patient", name) for name in ("notes", "record")]


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_database_does_not_know_of_is_no_sql(project, rows, change):
    migration = project.add("zzz_clinic", alter(*CHANGES[change]))
    sql = StringIO()
    call_command("sqlmigrate", "zzz_clinic", migration, database="scratch", stdout=sql)
    statements = [line for line in sql.getvalue().splitlines() if line and line[:2] != "--"]
    assert set(statements) <= {"BEGIN;", "COMMIT;"}
    before = envelopes(project)
    project.migrate()
    assert envelopes(project) == before


def test_a_table_that_is_made_again_keeps_its_bytes(project, rows):
    """SQLite makes a new table for most changes, and copies it."""
    before = envelopes(project)
    project.add("zzz_clinic", alter("notes", EncryptedTextField(null=True)))
    project.add("zzz_clinic", add("number", models.IntegerField(default=3, db_index=True)))
    project.add("zzz_clinic", alter("number", models.BigIntegerField(unique=False)))
    project.migrate()
    assert envelopes(project) == before
    assert values(project) == [("a", [1]), ("b", 0)]
    project.migrate("zzz_clinic", "0001")
    assert envelopes(project) == before


def test_from_one_encrypted_type_to_another(project, rows):
    """The bytes stay, and mean what the new type makes of them."""
    project.rows("zzz_clinic", "Patient").update(notes="[1, 2]")
    project.add("zzz_clinic", alter("notes", EncryptedJSONField()))
    project.migrate()
    assert values(project)[0] == ([1, 2], [1])
