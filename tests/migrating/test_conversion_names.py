"""Conversions go with the names of their fields, through migrations that change these."""

import pytest
from django.db import models
from django.db.migrations import CreateModel, RenameField, RenameModel, SeparateDatabaseAndState
from django.utils import timezone

from envelope_fields import keyring
from envelope_fields.fields import EncryptedTextField
from envelope_fields.keyring.conversions import is_finished
from envelope_fields.models import AuditEvent, ColumnConversion, ConversionKind

pytestmark = [pytest.mark.with_our_tables]

FIELD = RenameField("visit", "report", "text")
MODEL = RenameModel("Visit", "Consultation")
RENAMES = [
    ([FIELD], "visits.Visit", "text"),
    ([MODEL], "visits.Consultation", "report"),
    ([FIELD, MODEL], "visits.Consultation", "text"),
    ([SeparateDatabaseAndState(state_operations=[FIELD])], "visits.Visit", "text"),
    ([SeparateDatabaseAndState(state_operations=[MODEL])], "visits.Consultation", "report"),
]
IDS = ["field", "model", "both", "field in state", "model in state"]


@pytest.fixture
def finished(project):
    fields = [
        ("id", models.BigAutoField(primary_key=True)),
        ("report", EncryptedTextField(null=True, db_column="report")),
    ]
    project.add("visits", CreateModel("Visit", fields, options={"db_table": "visits"}))
    project.migrate()
    make(project, "visits.Visit", "report")
    make(project, "visits.Visit", "other")
    make(project, "visits.Visitor", "report")
    return project


def make(project, model, field):
    ColumnConversion.objects.using(project.alias).create(
        model=model, field=field, kind=ConversionKind.LEGACY, phase="finished",
        finished_at=timezone.now(),
    )  # fmt: skip


@pytest.mark.parametrize(("operations", "model", "field"), RENAMES, ids=IDS)
def test_what_is_finished_stays_finished(finished, operations, model, field):
    finished.add("visits", *operations)
    finished.migrate()
    assert is_finished(model, field)
    assert not is_finished("visits.Visit", "report")
    assert is_finished(model, "other")
    assert is_finished("visits.Visitor", "report")


@pytest.mark.parametrize(("operations", "model", "field"), RENAMES, ids=IDS)
def test_backwards_as_well(finished, operations, model, field):
    finished.add("visits", *operations)
    finished.migrate()
    finished.migrate("visits", "0001")
    assert is_finished("visits.Visit", "report")
    assert not is_finished(model, field)
    finished.migrate()
    assert is_finished(model, field)


def test_what_is_left_of_another_field_of_that_name(finished):
    make(finished, "visits.Visit", "text")
    finished.add("visits", FIELD)
    finished.migrate()
    rows = ColumnConversion.objects.using(finished.alias)
    assert rows.filter(model="visits.Visit", field="text").count() == 1


def test_event(finished):
    finished.add("visits", FIELD)
    finished.migrate()
    event = AuditEvent.objects.using(finished.alias).get(action="rename_conversion")
    assert (event.before, event.after) == (
        {"field": "visits.Visit.report"}, {"field": "visits.Visit.text"},
    )  # fmt: skip


def test_one_that_fails_leaves_the_name(finished):
    if not finished.connection.features.can_rollback_ddl:
        pytest.skip("the rename stays, too")
    finished.add("visits", FIELD)
    finished.write(
        "visits",
        "0003",
        "from django.db import migrations\n"
        "def fail(*args): raise RuntimeError\n"
        "class Migration(migrations.Migration):\n"
        "    dependencies = [('visits', '0002')]\n"
        "    operations = [migrations.RenameField('visit', 'text', 'words'),"
        " migrations.RunPython(fail)]\n",
    )
    with pytest.raises(RuntimeError):
        finished.migrate()
    keyring.forget()
    assert is_finished("visits.Visit", "text")
