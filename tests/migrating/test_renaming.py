"""The how-to "Rename a field", and what happens to those who do not follow it."""

import pytest
from django.db import migrations
from django.db.migrations import AddField, AlterField, RemoveField, RenameField, RenameModel
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import BigAutoField

from envelope_fields.exceptions import DecryptionFailed
from envelope_fields.fields import EncryptedTextField
from tests.migrating.columns import alter, patient

pytestmark = pytest.mark.with_our_tables

LABEL = "zzz_clinic.patient.notes"


def state(**fields):
    project_state = ProjectState()
    fields = [("id", BigAutoField(primary_key=True)), *fields.items()]
    project_state.add_model(ModelState("zzz_clinic", "Patient", fields))
    return project_state


def detected(before, after):
    """Return what `makemigrations` writes if every question is answered with yes."""
    questioner = MigrationQuestioner(defaults={"ask_rename": True, "ask_rename_model": True})
    found = MigrationAutodetector(before, after, questioner)._detect_changes()
    return [operation for migration in found["zzz_clinic"] for operation in migration.operations]


@pytest.fixture
def rows(project):
    project.add("zzz_clinic", patient(notes=EncryptedTextField()))
    project.migrate()
    project.rows("zzz_clinic", "Patient").create(notes="kept")


def read(project, model="Patient", name="history"):
    return project.rows("zzz_clinic", model).values_list(name, flat=True).get()


class TestAsTheHowToSays:
    def test_makemigrations_finds_both_steps(self):
        plain = state(notes=EncryptedTextField())
        pinned = state(notes=EncryptedTextField(context=LABEL))
        renamed = state(history=EncryptedTextField(context=LABEL))
        (pin,) = detected(plain, pinned)
        (rename,) = detected(pinned, renamed)
        assert isinstance(pin, AlterField)
        assert isinstance(rename, RenameField)

    def test_values_are_read(self, project, rows):
        before = project.column("zzz_clinic", "Patient", "notes")
        project.add("zzz_clinic", alter("notes", EncryptedTextField(context=LABEL)))
        project.add("zzz_clinic", RenameField("Patient", "notes", "history"))
        project.migrate()
        assert read(project) == "kept"
        assert project.column("zzz_clinic", "Patient", "history") == before

    def test_a_model_is_renamed_the_same_way(self, project, rows):
        project.add("zzz_clinic", alter("notes", EncryptedTextField(context=LABEL)))
        project.add("zzz_clinic", RenameModel("Patient", "Person"))
        project.migrate()
        assert read(project, "Person", "notes") == "kept"

    def test_leaving_the_pinned_label(self, project, rows):
        """New values get the derived label, old ones are read by the previous one."""
        project.add("zzz_clinic", alter("notes", EncryptedTextField(context=LABEL)))
        project.add("zzz_clinic", RenameField("Patient", "notes", "history"))
        project.add("zzz_clinic", alter("history", EncryptedTextField(previous_contexts=[LABEL])))
        project.migrate()
        assert read(project) == "kept"
        row = project.rows("zzz_clinic", "Patient").get()
        assert row.history == "kept"  # what is not opened is not written
        row.save()
        project.add("zzz_clinic", alter("history", EncryptedTextField()))
        project.migrate()
        assert read(project) == "kept"


class TestOtherwise:
    @pytest.mark.parametrize("option", [{"context": LABEL}, {"previous_contexts": [LABEL]}])
    def test_in_one_step_makemigrations_drops_the_column(self, option):
        before = state(notes=EncryptedTextField())
        found = detected(before, state(history=EncryptedTextField(**option)))
        assert {type(operation) for operation in found} == {RemoveField, AddField}

    def test_without_a_pin_nothing_is_read_and_nothing_is_lost(self, project, rows):
        (rename,) = detected(state(notes=EncryptedTextField()), state(history=EncryptedTextField()))
        assert isinstance(rename, RenameField)
        project.add("zzz_clinic", migrations.RenameField("Patient", "notes", "history"))
        project.migrate()
        with pytest.raises(DecryptionFailed, match=r"zzz_clinic\.Patient\.history"):
            read(project)
        project.add("zzz_clinic", alter("history", EncryptedTextField(previous_contexts=[LABEL])))
        project.migrate()
        assert read(project) == "kept"
