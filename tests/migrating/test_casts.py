"""`AlterField` of an empty column, from and to types that are not cast to bytes."""

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import models

from envelope_fields.databases.tables import lacks_cast
from envelope_fields.fields import EncryptedJSONField, EncryptedTextField
from envelope_fields.migrating.refusals import ConversionRefused
from tests.migrating.columns import alter, patient

pytestmark = pytest.mark.with_our_tables

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


def make(project, *states):
    """Write a migration that makes the columns, and one for each later state of them."""
    project.add(LABEL, patient(**states[0]))
    for state in states[1:]:
        project.add(LABEL, *(alter(name, field) for name, field in state.items()))


def each(fields, field):
    return {name: field(null=True) for name in fields}


def refusing(project):
    return project.connection.vendor == "postgresql"


def test_there_and_back(project):
    make(project, CASTABLE, each(CASTABLE, EncryptedTextField))
    project.migrate()
    project.migrate(LABEL, "0001")


@pytest.mark.parametrize("name", OTHERS)
def test_a_type_that_has_no_cast_is_seen(project, name):
    """By the types alone, as before a plan is run."""
    field, encrypted = OTHERS[name], EncryptedJSONField(null=True)
    lacks = refusing(project)
    assert lacks_cast(field, encrypted, project.alias) is lacks
    assert lacks_cast(encrypted, field, project.alias) is lacks


def test_types_that_have_no_cast(project):
    make(project, OTHERS, each(OTHERS, EncryptedJSONField))
    if not refusing(project):
        project.migrate()
        return
    said = r"0002 would make zzz_clinic\.Patient\.integer an encrypted field, and the database 'scr"
    with pytest.raises(ConversionRefused, match=said) as error:
        project.migrate()
    assert "RemoveField and AddField" in str(error.value)


def test_back_to_types_that_have_no_cast(project):
    make(project, each(OTHERS, EncryptedJSONField), OTHERS)
    if not refusing(project):
        project.migrate()
        return
    with pytest.raises(ConversionRefused, match="a field that is not encrypted, and"):
        project.migrate()


def test_before_anything_is_done(project):
    """The column is there before the plan: nothing of it is run."""
    make(project, {"notes": models.IntegerField(null=True)})
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
    make(project, {"notes": models.IntegerField(null=True)})
    project.migrate()
    project.add(LABEL, alter("notes", models.TextField(null=True)))
    project.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    project.migrate()
    project.rows(LABEL, "Patient").create(notes="a")


def test_arrays(project):
    if not refusing(project):
        pytest.skip("PostgreSQL alone has arrays")
    array = ArrayField(models.TextField(), null=True)
    make(project, {"notes": array}, {"notes": EncryptedJSONField(null=True)})
    with pytest.raises(ConversionRefused, match="no cast"):
        project.migrate()


def test_references(project):
    reference = models.ForeignKey(f"{LABEL}.Patient", models.CASCADE, null=True)
    make(project, {"notes": reference}, {"notes": EncryptedTextField(null=True)})
    if not refusing(project):
        return
    with pytest.raises(ConversionRefused, match="no cast"):
        project.migrate()
