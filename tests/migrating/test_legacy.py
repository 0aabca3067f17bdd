"""`AlterField` from another package's field to one of ours that reads what it has stored."""

import pytest
from django.db import connections, models
from django.test.utils import isolate_apps
from django.utils import timezone

from envelope_fields import keyring
from envelope_fields.fields import EncryptedTextField
from envelope_fields.fields.legacy import FernetFields, Plaintext
from envelope_fields.migrating import refusals
from envelope_fields.migrating.refusals import ConversionRefused
from envelope_fields.models import ColumnConversion, KeyCacheBound
from tests.fields.legacy import written
from tests.migrating.columns import alter, patient

pytestmark = pytest.mark.with_our_tables

LABEL = "zzz_clinic"
STORED = [written.fernet("a"), written.fernet("b")]


@pytest.fixture
def theirs(project):
    """A column of bytes in which another package has stored two values, and a NULL."""
    project.add(LABEL, patient(notes=models.BinaryField(null=True)))
    project.migrate()
    for notes in (*STORED, None):
        project.rows(LABEL, "Patient").create(notes=notes)
    return project


@pytest.fixture
def today(monkeypatch):
    """Have the field be declared today with some readers."""

    def declare(*readers):
        with isolate_apps("tests"):

            class Patient(models.Model):
                notes = EncryptedTextField(null=True, legacy=readers)

                class Meta:
                    app_label = LABEL

        field = Patient._meta.get_field("notes")
        monkeypatch.setattr(refusals, "_installed", lambda conversion: field)

    return declare


def stored(project):
    return sorted(bytes(each) for each in project.column(LABEL, "Patient", "notes") if each)


def test_values_that_the_field_reads_stay(theirs, today):
    today(FernetFields())
    theirs.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    theirs.migrate()
    assert stored(theirs) == sorted(STORED)


def test_before_our_own_tables_are_there(theirs, today):
    keyring.forget()
    with connections[theirs.alias].schema_editor() as editor:
        editor.delete_model(ColumnConversion)
        editor.delete_model(KeyCacheBound)
    today(FernetFields())
    theirs.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    theirs.migrate()
    assert stored(theirs) == sorted(STORED)


def test_migrating_back_is_refused(theirs, today):
    today(FernetFields())
    theirs.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    theirs.migrate()
    with pytest.raises(ConversionRefused, match="a field that is not encrypted"):
        theirs.migrate(LABEL, "0001")
    assert stored(theirs) == sorted(STORED)


def test_values_that_no_reader_claims_are_refused(theirs, today):
    theirs.rows(LABEL, "Patient").create(notes=b"in clear")
    today(FernetFields())
    theirs.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    with pytest.raises(ConversionRefused, match="3 values"):
        theirs.migrate()
    today(FernetFields(), Plaintext())
    theirs.migrate()


def test_field_without_readers_is_refused(theirs, today):
    today()
    theirs.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    with pytest.raises(ConversionRefused, match="2 values"):
        theirs.migrate()


def test_column_whose_type_changes_is_refused(project, today):
    project.add(LABEL, patient(notes=models.TextField(null=True)))
    project.migrate()
    project.rows(LABEL, "Patient").create(notes=STORED[0].decode())
    today(FernetFields())
    project.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    with pytest.raises(ConversionRefused, match="1 value"):
        project.migrate()


def test_column_whose_conversion_is_finished_is_refused(theirs, today):
    today(FernetFields())
    ColumnConversion.objects.using(theirs.alias).create(
        model=f"{LABEL}.Patient", field="notes", kind="legacy", phase="finished",
        finished_at=timezone.now(),
    )  # fmt: skip
    theirs.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    with pytest.raises(ConversionRefused):
        theirs.migrate()
    assert connections[theirs.alias].introspection.table_names()
