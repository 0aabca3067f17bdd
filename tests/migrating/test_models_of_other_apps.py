"""A migration of the project that alters a model of another app, as for a third-party table."""

import pytest
from django.db import models
from django.db.migrations import AlterField, RunPython, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

from envelope_fields.fields import EncryptedTextField
from envelope_fields.migrating.refusals import ConversionRefused
from tests.migrating.columns import patient

pytestmark = [pytest.mark.any_database, pytest.mark.with_our_tables]

THEIRS, OURS = "aaa_theirs", "zzz_ours"
ENCRYPTED = EncryptedTextField(null=True)


class InTheirApp:
    """What an operation has in front, to be about a model of another app than its migration's."""

    def state_forwards(self, app_label, state):
        super().state_forwards(THEIRS, state)

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        super().database_forwards(THEIRS, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        super().database_backwards(THEIRS, schema_editor, from_state, to_state)


class AlterTheirField(InTheirApp, AlterField):
    pass


class AlterTheirDatabase(InTheirApp, SeparateDatabaseAndState):
    pass


class Inside(Operation):
    """Hands everything on to another operation, of another app."""

    reversible = True

    def __init__(self, operation):
        self.operation = operation

    def state_forwards(self, app_label, state):
        self.operation.state_forwards(THEIRS, state)

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        self.operation.database_forwards(THEIRS, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        self.operation.database_backwards(THEIRS, schema_editor, from_state, to_state)


def alter(field, kind=AlterField):
    return kind("Patient", "notes", field)


OPERATIONS = {
    "a label of its own": lambda field: alter(field, AlterTheirField),
    "inside another": lambda field: Inside(alter(field)),
    "inside one for the database": lambda field: SeparateDatabaseAndState(
        [alter(field, AlterTheirField)], [alter(field, AlterTheirField)]
    ),
    "one for the database with a label of its own": lambda field: AlterTheirDatabase(
        [alter(field)], [alter(field)]
    ),
}


@pytest.fixture(params=OPERATIONS.values(), ids=OPERATIONS.keys())
def operation(request):
    return request.param


@pytest.fixture
def theirs(project):
    project.add(THEIRS, patient(notes=models.TextField(null=True)))
    project.install(OURS)
    project.migrate()
    return project


def add(project, operation):
    return project.add(OURS, operation, after=[(THEIRS, "0001")])


def test_plain_changes(theirs, operation):
    add(theirs, operation(models.TextField(null=True, blank=True)))
    theirs.migrate()
    theirs.migrate(OURS, "zero")


def test_an_empty_column_becomes_encrypted_and_plain_again(theirs, operation):
    add(theirs, operation(ENCRYPTED))
    theirs.migrate()
    theirs.rows(THEIRS, "Patient").create(notes="a")
    assert theirs.rows(THEIRS, "Patient").get().notes == "a"
    with pytest.raises(ConversionRefused, match=r"Reversing .* would make aaa_theirs\.Patient"):
        theirs.migrate(OURS, "zero")
    assert theirs.rows(THEIRS, "Patient").get().notes == "a"
    theirs.rows(THEIRS, "Patient").delete()
    theirs.migrate(OURS, "zero")


def test_values_are_counted_beforehand(theirs, operation):
    theirs.rows(THEIRS, "Patient").create(notes="a")
    name = add(theirs, operation(ENCRYPTED))
    refusal = rf"zzz_ours\.{name} would make aaa_theirs\.Patient\.notes an encrypted field, and"
    with pytest.raises(ConversionRefused, match=refusal):
        theirs.migrate()
    assert theirs.rows(THEIRS, "Patient").get().notes == "a"


def fill(apps, schema_editor):
    using = schema_editor.connection.alias
    apps.get_model(THEIRS, "Patient").objects.using(using).create(notes="a")


def test_values_are_counted_before_it_runs(theirs, operation):
    theirs.add(THEIRS, RunPython(fill))
    theirs.add(OURS, operation(ENCRYPTED), after=[(THEIRS, "0002")])
    with pytest.raises(ConversionRefused, match=r"aaa_theirs\.Patient\.notes an encrypted"):
        theirs.migrate()
    assert theirs.rows(THEIRS, "Patient").get().notes == "a"
