"""What `makemigrations` makes of encrypted fields."""

import importlib

import pytest
from django.core.management import call_command
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import MigrationWriter

from tests.models import Birth, Declared, LabNote, Note, OddNames, Renamed, TenantNote

MODELS = (Birth, Declared, LabNote, Note, OddNames, Renamed, TenantNote)


def state_of(*models):
    state = ProjectState()
    for model in models:
        state.add_model(ModelState.from_model(model))
    return state


def detected(before, after):
    """Return the migrations that lead from one state to another."""
    return MigrationAutodetector(before, after)._detect_changes().get("tests", [])


def test_the_second_time_there_are_no_changes(tmp_path, monkeypatch):
    """Fields come back from a file as they were written."""
    monkeypatch.syspath_prepend(tmp_path)
    state = ProjectState()
    for number, migration in enumerate(detected(state, state_of(*MODELS))):
        name = f"written_{number}"
        (tmp_path / f"{name}.py").write_text(MigrationWriter(migration).as_string())
        importlib.invalidate_caches()
        written = importlib.import_module(name).Migration(name, "tests")
        assert written.operations
        state = written.mutate_state(state)
    assert detected(state, state_of(*MODELS)) == []


def test_what_a_migration_says():
    (migration,) = detected(ProjectState(), state_of(TenantNote, Renamed))
    text = MigrationWriter(migration).as_string()
    assert "import envelope_fields.fields\n" in text
    assert "envelope_fields.fields.EncryptedTextField(blank=True, key=tests.models" in text
    assert "context='tests.former.text', previous_contexts=('tests.older.text'," in text


@pytest.mark.django_db
def test_this_package_needs_no_migration():
    call_command("makemigrations", "envelope_fields", check=True, dry_run=True, verbosity=0)
