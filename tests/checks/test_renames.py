"""Renames, of which the check says what Django's autodetector would make of them."""

import pytest
from django.db import models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState

from envelope_fields.checks import renames
from envelope_fields.checks.renames import check_renames
from envelope_fields.fields import EncryptedTextField

pytestmark = pytest.mark.any_database


class YesToRenames(MigrationQuestioner):
    def ask_rename(self, *_):
        return True

    def ask_rename_model(self, *_):
        return True

    def ask_not_null_addition(self, field_name, model_name):
        return ""


@pytest.fixture(autouse=True)
def recorded(settings):
    settings.MIGRATION_MODULES = {"tests": "tests.checks.recorded"}


def declare(name="Patient", **changes):
    """Define the model as it is recorded, but for these changes; None takes a field away."""
    columns = {
        "notes": EncryptedTextField(),
        "pinned": EncryptedTextField(context="tests.patient.pinned"),
        "plain": models.TextField(),
        **changes,
    }
    columns = {name: field for name, field in columns.items() if field is not None}
    return type(name, (models.Model,), {"__module__": __name__, **columns})


def operations(registry):
    """Return what `makemigrations` would do to the columns."""
    loader = MigrationLoader(None)
    changes = MigrationAutodetector(
        loader.project_state(), ProjectState.from_apps(registry), YesToRenames()
    ).changes(loader.graph, trim_to_apps={"tests"})
    made = [
        operation for migration in changes.get("tests", ()) for operation in migration.operations
    ]
    return {type(operation).__name__ for operation in made}


SOUND = {
    "as recorded": {},
    "pinned first": {"notes": EncryptedTextField(context="tests.patient.notes")},
    "renamed": {"notes": None, "text": EncryptedTextField()},
    "renamed after it was pinned": {
        "pinned": None,
        "text": EncryptedTextField(context="tests.patient.pinned"),
    },
    "labels of nothing recorded": {
        "notes": EncryptedTextField(
            context="a label",
            previous_contexts=["tests.patient.gone", "tests.gone.notes", "no.app.x"],
        )
    },
    "was not encrypted": {
        "plain": None,
        "text": EncryptedTextField(previous_contexts=["tests.patient.plain"]),
    },
}

IN_ONE_STEP = {
    "context": {"notes": None, "text": EncryptedTextField(context="tests.patient.notes")},
    "previous_contexts": {
        "notes": None,
        "text": EncryptedTextField(previous_contexts=["tests.patient.notes"]),
    },
}


@pytest.mark.parametrize("changes", SOUND.values(), ids=SOUND)
def test_what_keeps_the_column_is_silent(changes, registry):
    declare(**changes)
    assert check_renames(registry.get_app_configs()) == []
    if changes.get("plain", "kept") is not None:
        assert "RemoveField" not in operations(registry)


@pytest.mark.parametrize("changes", IN_ONE_STEP.values(), ids=IN_ONE_STEP)
def test_what_would_drop_the_column_is_a_warning(changes, registry):
    model = declare(**changes)
    (message,) = check_renames(registry.get_app_configs())
    assert message.id == "envelope_fields.W032"
    assert message.obj is model._meta.get_field("text")
    assert "context='tests.patient.notes'" in message.hint
    assert {"RemoveField", "AddField"} <= operations(registry)


def test_a_model_renamed_in_one_step_is_a_warning(registry):
    declare("Person", notes=EncryptedTextField(context="tests.patient.notes"))
    (message,) = check_renames(registry.get_app_configs())
    assert message.id == "envelope_fields.W032"
    assert "DeleteModel" in operations(registry)


def test_a_model_renamed_without_a_change_is_silent(registry):
    declare("Person")
    assert check_renames(registry.get_app_configs()) == []
    assert operations(registry) == {"RenameModel"}


def test_after_the_migration_is_made_the_check_is_silent(registry, monkeypatch):
    declare(notes=None, text=EncryptedTextField(previous_contexts=["tests.patient.notes"]))
    monkeypatch.setattr(renames, "_recorded_state", lambda: ProjectState.from_apps(registry))
    assert check_renames(registry.get_app_configs()) == []


def test_migrations_are_loaded_only_when_a_label_is_of_a_field_that_is_gone(registry, monkeypatch):
    declare(notes=EncryptedTextField(context="tests.patient.notes"))
    monkeypatch.setattr(renames, "_recorded_state", None)
    assert check_renames(registry.get_app_configs()) == []


def test_migrations_with_errors_are_left_to_django(registry, settings):
    settings.MIGRATION_MODULES = {"tests": "tests.checks"}  # modules without a Migration
    declare(notes=None, text=EncryptedTextField(context="tests.patient.notes"))
    assert check_renames(registry.get_app_configs()) == []
