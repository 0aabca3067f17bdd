"""Migrations that would change a column which values are bound to."""

import pytest
from django.db import models
from django.db.migrations import (
    AlterModelOptions,
    RemoveField,
    RenameField,
    RenameModel,
    RunPython,
    SeparateDatabaseAndState,
)

from envelope_fields.fields import EncryptedTextField
from envelope_fields.migrating.bound_columns import ValuesWouldNotOpen
from tests.migrating.columns import PATIENT, add, alter, patient
from tests.migrating.project import DEFAULT_KEY

pytestmark = pytest.mark.with_our_tables

LABEL = PATIENT[0]
BOUND = EncryptedTextField(bind_to=["ward"], null=True)
BEFORE = EncryptedTextField(previous_bindings=[["ward"]], null=True)
UNBOUND = EncryptedTextField(null=True)
WARD = models.IntegerField(null=True)
DROP = RemoveField("patient", "ward")


@pytest.fixture
def bound(project):
    """A table with a value that is bound to a number, and one that is bound to NULL."""
    project.add(LABEL, patient(ward=WARD, notes=BOUND), after=[DEFAULT_KEY])
    project.migrate()
    rows = project.rows(*PATIENT)
    rows.create(ward=7, notes="seven")
    rows.create(ward=None, notes="none")
    return project


def notes(project):
    return [row.notes for row in project.rows(*PATIENT)]


@pytest.mark.parametrize(
    "operations",
    [
        [DROP],
        [alter("notes", UNBOUND), DROP],
        [alter("notes", BEFORE), DROP],
        [SeparateDatabaseAndState([DROP]), alter("notes", UNBOUND)],
        [alter("ward", models.CharField(max_length=9, null=True))],
        [RenameField("patient", "ward", "unit"), RemoveField("patient", "unit")],
        [alter("notes", UNBOUND), RenameModel("Patient", "Person"), RemoveField("person", "ward")],
        [alter("notes", UNBOUND), RenameField("patient", "notes", "memo"), DROP],
    ],
    ids=["drop", "unbind and drop", "before", "inside", "type", "renamed", "model", "value"],
)
def test_a_column_with_values_stays(bound, operations):
    bound.add(LABEL, *operations)
    message = r"P\w+\.\w+ \(2\)\. So bind them to something else first: https"
    with pytest.raises(ValuesWouldNotOpen, match=message):
        bound.migrate()
    if bound.connection.features.can_rollback_ddl:  # else what comes before was done
        assert notes(bound) == ["seven", "none"]


def test_null_gets_no_default(bound):
    bound.add(LABEL, alter("ward", models.IntegerField(default=0)))
    with pytest.raises(ValuesWouldNotOpen, match=r"notes \(1\)\. So give these rows a value"):
        bound.migrate()
    row = bound.rows(*PATIENT).get(ward=None)
    row.ward = 0
    row.save()
    bound.migrate()
    assert notes(bound) == ["seven", "none"]


@pytest.mark.parametrize(
    "operations",
    [
        [alter("ward", models.BigIntegerField(null=True, db_index=True))],
        [alter("notes", BEFORE), alter("notes", UNBOUND), DROP],
        [DROP, RemoveField("patient", "notes")],
        [SeparateDatabaseAndState([], [alter("ward", models.CharField(max_length=9))])],
        [AlterModelOptions("patient", {"managed": False}), alter("ward", models.TextField())],
    ],
    ids=["same type", "rewrapped", "with the values", "state", "not managed"],
)  # fmt: skip
def test_others_go_through(bound, operations):
    if operations[-1] is DROP:
        bound.add(LABEL, operations[0])
        bound.migrate()
        for row in bound.rows(*PATIENT):
            row.notes = row.notes + "!"
            row.save()
        operations = operations[1:]
    bound.add(LABEL, *operations)
    bound.migrate()
    if operations[-1] is DROP:
        assert notes(bound) == ["seven!", "none!"]


def test_no_values_are_lost_backwards(project):
    project.add(LABEL, patient(notes=UNBOUND), after=[DEFAULT_KEY])
    project.add(LABEL, add("ward", WARD), alter("notes", BOUND))
    project.migrate()
    project.rows(*PATIENT).create(ward=7, notes="seven")
    with pytest.raises(ValuesWouldNotOpen, match=r"to Patient, reversed, would change"):
        project.migrate(LABEL, "0001")
    assert notes(project) == ["seven"]
    project.rows(*PATIENT).delete()
    project.migrate(LABEL, "0001")


def fill(apps, schema_editor):
    rows = apps.get_model(*PATIENT).objects.using(schema_editor.connection.alias)
    rows.create(ward=1, notes="one")


def test_values_that_come_with_the_plan(project):
    project.add(LABEL, patient(ward=WARD, notes=BOUND), after=[DEFAULT_KEY])
    project.add(LABEL, RunPython(fill, fill))
    project.add(LABEL, alter("notes", UNBOUND))
    project.add(LABEL, DROP)
    with pytest.raises(ValuesWouldNotOpen):
        project.migrate()
    project.migrate(LABEL, "0002")
    assert notes(project) == ["one"]


def test_a_new_database(project):
    project.add(LABEL, patient(ward=WARD, notes=BOUND), after=[DEFAULT_KEY])
    project.add(LABEL, alter("ward", models.CharField(max_length=9, default="")))
    project.add(LABEL, alter("notes", UNBOUND), DROP)
    project.migrate()
    project.migrate(LABEL, "zero")
