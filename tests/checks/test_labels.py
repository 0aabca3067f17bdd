"""Labels that two columns share, now or from before a rename."""

import pytest
from django.db import models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState
from django.test.utils import isolate_apps

from envelope_fields.checks import labels
from envelope_fields.checks.labels import check_labels, check_renames
from envelope_fields.fields import EncryptedJSONField, EncryptedTextField

pytestmark = pytest.mark.any_database


def declare(name, *, managed=True, table=None, bases=(models.Model,), **columns):
    meta = {"managed": managed, "db_table": table or name.lower()}
    return type(name, bases, {"__module__": __name__, "Meta": type("Meta", (), meta), **columns})


def test_derived_labels_are_silent(registry, ids):
    declare("Patient", notes=EncryptedTextField(), record=EncryptedJSONField())
    declare("Nurse", notes=EncryptedTextField())
    assert ids() == []


def test_two_fields_of_one_model_with_one_label_are_an_error(registry, report):
    model = declare(
        "Patient",
        notes=EncryptedTextField(context="shared"),
        more=EncryptedTextField(context="shared"),
    )
    (message,) = report()
    assert message.id == "envelope_fields.E030"
    assert message.msg == (
        "The label 'shared' is used for several columns: tests.Patient.notes, tests.Patient.more."
    )
    assert message.obj is model._meta.get_field("more")


def test_declared_copies_may_read_what_they_copied(registry, ids):
    declare("Patient", notes=EncryptedTextField())
    copies = {"copy_of": "tests.Patient.notes"}
    declare("Event", notes=EncryptedTextField(context="tests.patient.notes", **copies))
    declare("Log", notes=EncryptedTextField(previous_contexts=["tests.patient.notes"], **copies))
    assert ids() == []
    declare("Other", notes=EncryptedTextField(context="tests.patient.notes"))
    assert sorted(ids()) == ["E030", "E031"]


def test_a_pinned_label_that_another_field_derives_is_an_error(registry, ids):
    declare("Patient", notes=EncryptedTextField())
    declare("Nurse", notes=EncryptedTextField(context="tests.patient.notes"))
    assert ids() == ["E030"]


def test_a_label_pinned_in_an_abstract_base_is_an_error(registry, ids):
    class Base(models.Model):
        notes = EncryptedTextField(context="pinned")

        class Meta:
            abstract = True

    declare("First", bases=(Base,))
    assert ids() == []
    declare("Second", bases=(Base,))
    assert ids() == ["E030"]


def test_proxies_and_children_count_once(registry, ids):
    Patient = declare("Patient", notes=EncryptedTextField(context="pinned"))

    class Proxy(Patient):
        class Meta:
            proxy = True

    class Child(Patient):
        record = EncryptedJSONField()

    assert ids() == []


def test_an_unmanaged_model_that_mirrors_the_table_is_a_warning(registry, report):
    declare("Patient", notes=EncryptedTextField())
    label = "tests.patient.notes"
    mirror = declare(
        "Mirror", managed=False, table="patient", notes=EncryptedTextField(context=label)
    )
    (message,) = report()
    assert message.id == "envelope_fields.W030"
    assert not message.is_serious()
    assert message.obj is mirror._meta.get_field("notes")


def test_an_unmanaged_model_that_shows_a_view_of_the_table_is_a_warning(registry, ids):
    declare("Patient", notes=EncryptedTextField())
    declare("View", managed=False, notes=EncryptedTextField(context="tests.patient.notes"))
    assert ids() == ["W030"]


def test_two_columns_of_an_unmanaged_model_are_an_error(registry, ids):
    declare(
        "Mirror",
        managed=False,
        notes=EncryptedTextField(context="shared"),
        more=EncryptedTextField(context="shared"),
    )
    assert ids() == ["E030"]


def test_a_mirror_under_another_label_is_a_warning(registry, report):
    declare("Mirror", managed=False, table="patient", notes=EncryptedTextField())
    declare("Patient", notes=EncryptedTextField())
    (message,) = report()
    assert message.id == "envelope_fields.W031"
    assert "context='tests.patient.notes'" in message.hint


def test_a_previous_label_that_no_field_has_is_silent(registry, ids):
    declare("Patient", notes=EncryptedTextField(previous_contexts=["tests.person.notes"]))
    assert ids() == []


def test_a_previous_label_that_another_field_has_is_an_error(registry, report):
    patient = declare("Patient", notes=EncryptedTextField(previous_contexts=["tests.nurse.notes"]))
    declare("Nurse", notes=EncryptedTextField())
    (message,) = report()
    assert message.id == "envelope_fields.E031"
    assert message.msg == (
        "'previous_contexts' names 'tests.nurse.notes', the present label of tests.Nurse.notes."
    )
    assert message.obj is patient._meta.get_field("notes")


def test_labels_are_compared_across_applications_and_reported_for_those_checked():
    with isolate_apps("tests", "django.contrib.auth", "django.contrib.admin") as registry:

        class First(models.Model):
            notes = EncryptedTextField(context="shared")

            class Meta:
                app_label = "auth"

        class Second(models.Model):
            notes = EncryptedTextField(context="shared")

        def reported(name):
            return [message.id for message in check_labels([registry.get_app_config(name)])]

        assert reported("tests") == reported("auth") == ["envelope_fields.E030"]
        assert reported("admin") == []


def test_the_labels_of_the_test_project_are_sound():
    assert check_labels() == []


def test_a_label_that_is_not_text_is_left_to_the_field(registry, ids):
    declare("Patient", notes=EncryptedTextField(context=5))
    declare("Nurse", notes=EncryptedTextField(context=5))
    assert ids() == ["E017", "E017"]


class YesToRenames(MigrationQuestioner):
    def ask_rename(self, *_):
        return True

    def ask_rename_model(self, *_):
        return True

    def ask_not_null_addition(self, field_name, model_name):
        return ""


def declare_recorded(name="Patient", **changes):
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


class TestRenames:
    """The check says what Django's autodetector would make of a rename."""

    @pytest.fixture(autouse=True)
    def recorded(self, settings):
        settings.MIGRATION_MODULES = {"tests": "tests.checks.recorded"}

    @pytest.mark.parametrize("changes", SOUND.values(), ids=SOUND)
    def test_what_keeps_the_column_is_silent(self, changes, registry):
        declare_recorded(**changes)
        assert check_renames(registry.get_app_configs()) == []
        if changes.get("plain", "kept") is not None:
            assert "RemoveField" not in operations(registry)

    @pytest.mark.parametrize("changes", IN_ONE_STEP.values(), ids=IN_ONE_STEP)
    def test_what_would_drop_the_column_is_a_warning(self, changes, registry):
        model = declare_recorded(**changes)
        (message,) = check_renames(registry.get_app_configs())
        assert message.id == "envelope_fields.W032"
        assert message.obj is model._meta.get_field("text")
        assert "context='tests.patient.notes'" in message.hint
        assert {"RemoveField", "AddField"} <= operations(registry)

    def test_a_model_renamed_in_one_step_is_a_warning(self, registry):
        declare_recorded("Person", notes=EncryptedTextField(context="tests.patient.notes"))
        (message,) = check_renames(registry.get_app_configs())
        assert message.id == "envelope_fields.W032"
        assert "DeleteModel" in operations(registry)

    def test_a_model_renamed_without_a_change_is_silent(self, registry):
        declare_recorded("Person")
        assert check_renames(registry.get_app_configs()) == []
        assert operations(registry) == {"RenameModel"}

    def test_after_the_migration_is_made_the_check_is_silent(self, registry, monkeypatch):
        declare_recorded(
            notes=None, text=EncryptedTextField(previous_contexts=["tests.patient.notes"])
        )
        monkeypatch.setattr(labels, "_recorded_state", lambda: ProjectState.from_apps(registry))
        assert check_renames(registry.get_app_configs()) == []

    def test_migrations_are_loaded_only_when_a_label_is_of_a_field_that_is_gone(
        self, registry, monkeypatch
    ):
        declare_recorded(notes=EncryptedTextField(context="tests.patient.notes"))
        monkeypatch.setattr(labels, "_recorded_state", None)
        assert check_renames(registry.get_app_configs()) == []

    def test_migrations_with_errors_are_left_to_django(self, registry, settings):
        settings.MIGRATION_MODULES = {"tests": "tests.checks"}  # modules without a Migration
        declare_recorded(notes=None, text=EncryptedTextField(context="tests.patient.notes"))
        assert check_renames(registry.get_app_configs()) == []
