"""`AlterField` of an empty column, from and to types that are not cast to bytes."""

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import models

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField
from envelope_fields.fields.migrations import ConversionRefused
from tests.migrating.columns import alter, patient

LABEL = "zzz_clinic"
CASTABLE = {
    "text": models.TextField(null=True),
    "varchar": models.CharField(max_length=9, null=True),
    "slug": models.SlugField(null=True),
    "bytes": models.BinaryField(null=True),
}
OTHERS = {
    "integer": models.IntegerField(null=True),
    "date": models.DateField(null=True),
    "json": models.JSONField(null=True),
    "boolean": models.BooleanField(null=True),
    "uuid": models.UUIDField(null=True),
    "decimal": models.DecimalField(max_digits=5, decimal_places=2, null=True),
}


def columns(fields):
    return pytest.mark.parametrize("field", fields.values(), ids=fields.keys())


def make(project, *fields):
    project.add(LABEL, patient(notes=fields[0]))
    for field in fields[1:]:
        project.add(LABEL, alter("notes", field))


def refusing(project):
    return project.connection.vendor == "postgresql"


@columns(CASTABLE)
def test_there_and_back(project, field):
    make(project, field, EncryptedTextField(null=True))
    project.migrate()
    project.migrate(LABEL, "0001")


@columns(OTHERS)
def test_a_type_that_has_no_cast(project, field):
    make(project, field, EncryptedJSONField(null=True))
    if not refusing(project):
        project.migrate()
        return
    said = r"0002 would make zzz_clinic\.Patient\.notes an encrypted field, and the database 'scr"
    with pytest.raises(ConversionRefused, match=said) as error:
        project.migrate()
    assert "RemoveField and AddField" in str(error.value)


@columns(OTHERS)
def test_back_to_a_type_that_has_no_cast(project, field):
    make(project, EncryptedJSONField(null=True), field)
    if not refusing(project):
        project.migrate()
        return
    with pytest.raises(ConversionRefused, match="a field that is not encrypted, and"):
        project.migrate()


def test_before_anything_is_done(project):
    """The column is there before the plan: nothing of it is run."""
    make(project, models.IntegerField(null=True))
    project.migrate()
    project.add(LABEL, alter("notes", models.BigIntegerField(null=True)))
    project.add(LABEL, alter("notes", EncryptedJSONField(null=True)))
    if not refusing(project):
        return
    with pytest.raises(ConversionRefused, match="0003 would make"):
        project.migrate()
    assert type_of_notes(project) == "integer"


def type_of_notes(project):
    with project.connection.cursor() as cursor:
        cursor.execute(
            "SELECT data_type FROM information_schema.columns "
            "WHERE table_name = 'zzz_clinic_patient' AND column_name = 'notes'"
        )
        return cursor.fetchone()[0]


def test_by_way_of_a_type_that_has_one(project):
    make(project, models.IntegerField(null=True))
    project.migrate()
    project.add(LABEL, alter("notes", models.TextField(null=True)))
    project.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    project.migrate()
    project.rows(LABEL, "Patient").create(notes="a")


def test_arrays(project):
    if not refusing(project):
        pytest.skip("PostgreSQL alone has arrays")
    make(project, ArrayField(models.TextField(), null=True), EncryptedJSONField(null=True))
    with pytest.raises(ConversionRefused, match="no cast"):
        project.migrate()


def test_references(project):
    reference = models.ForeignKey(f"{LABEL}.Patient", models.CASCADE, null=True)
    make(project, reference, EncryptedTextField(null=True))
    if not refusing(project):
        return
    with pytest.raises(ConversionRefused, match="no cast"):
        project.migrate()
