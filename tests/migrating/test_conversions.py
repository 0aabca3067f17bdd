"""`AlterField` between plain and encrypted fields: refused while the column holds values."""

import pytest
from django.core.management import call_command
from django.db import migrations, models
from django.db.migrations import (
    AddField,
    AlterField,
    AlterModelTable,
    RenameField,
    RenameModel,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.operations.base import Operation
from django.test import override_settings

from envelope_fields.exceptions import EnvelopeError, documentation_page
from envelope_fields.fields import EncryptedJSONField, EncryptedTextField
from envelope_fields.migrating import plan as migration_plan
from envelope_fields.migrating.refusals import ConversionRefused
from tests.migrating.columns import PATIENT, alter, patient, write_notes
from tests.migrating.project import DEFAULT_KEY

pytestmark = pytest.mark.with_our_tables

LABEL = "zzz_clinic"
PLAIN, ENCRYPTED = models.TextField(), EncryptedTextField()


class CarefulAlterField(AlterField):
    """As third parties write them, to spare locks."""


class Converting(Operation):
    """Encrypts the values of a column, in a new one that takes its place."""

    def __init__(self, name):
        self.name = name

    def state_forwards(self, app_label, state):
        state.alter_field(app_label, "patient", self.name, EncryptedTextField(null=True), False)

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        old, new = (s.apps.get_model(app_label, "Patient") for s in (from_state, to_state))
        using = schema_editor.connection.alias
        values = dict(old.objects.using(using).values_list("pk", self.name))
        schema_editor.remove_field(old, old._meta.get_field(self.name))
        schema_editor.add_field(new, new._meta.get_field(self.name))
        for pk, value in values.items():
            new.objects.using(using).filter(pk=pk).update(**{self.name: value})


@pytest.fixture
def plain(project):
    """A column of plain text with three values and a NULL."""
    project.add(LABEL, patient(notes=models.TextField(null=True)))
    project.migrate()
    for notes in ("a", "b", "", None):
        project.rows(LABEL, "Patient").create(notes=notes)
    return project


def untouched(project):
    stored = project.column(LABEL, "Patient", "notes")
    return sorted(filter(None, stored)) == ["a", "b"]


def test_what_the_error_says(plain):
    name = plain.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    with pytest.raises(EnvelopeError) as error:
        plain.migrate()
    assert str(error.value).startswith(
        f"The migration zzz_clinic.{name} would make zzz_clinic.Patient.notes an encrypted field, "
        "and leave its 3 values in the database 'scratch' unencrypted"
    )
    assert documentation_page("how-to/encrypt-an-existing-column") in str(error.value)
    assert untouched(plain)


@pytest.mark.parametrize(
    "operations",
    [
        [alter("notes", ENCRYPTED)],
        [AlterField("patient", "notes", ENCRYPTED)],
        [CarefulAlterField("Patient", "notes", ENCRYPTED)],
        [alter("notes", EncryptedTextField(db_column="odd"))],
        [SeparateDatabaseAndState([alter("notes", ENCRYPTED)], [alter("notes", ENCRYPTED)])],
        [SeparateDatabaseAndState([alter("notes", ENCRYPTED)])],
        [SeparateDatabaseAndState([SeparateDatabaseAndState([alter("notes", ENCRYPTED)])])],
        [RenameField("Patient", "notes", "other"), alter("other", ENCRYPTED)],
        [RenameModel("Patient", "Person"), AlterField("Person", "notes", ENCRYPTED)],
        [AlterModelTable("Patient", "Odd Table"), alter("notes", ENCRYPTED)],
        [alter("notes", models.CharField(max_length=9)), alter("notes", ENCRYPTED)],
        [RunSQL("", state_operations=[alter("notes", PLAIN)]), alter("notes", ENCRYPTED)],
        [AddField("Patient", "more", ENCRYPTED), alter("notes", ENCRYPTED)],
    ],
    ids=str,
)
def test_refused(plain, operations):
    plain.add(LABEL, *operations)
    with pytest.raises(ConversionRefused, match=r"zzz_clinic\.Patient\.notes an encrypted field"):
        plain.migrate()
    assert untouched(plain)


def test_over_several_migrations(plain):
    plain.add(LABEL, RenameField("Patient", "notes", "other"))
    plain.add(LABEL, RenameModel("Patient", "Person"))
    plain.add(LABEL, AlterField("Person", "other", ENCRYPTED))
    with pytest.raises(ConversionRefused, match=r"0004.* zzz_clinic\.Patient\.notes an encrypted"):
        plain.migrate()
    plain.migrate(LABEL, "0003")  # which is one step before
    with pytest.raises(ConversionRefused, match=r"0004.* zzz_clinic\.Person\.other an encrypted"):
        plain.migrate()


@pytest.mark.parametrize(
    "field",
    [
        models.TextField(db_column="Odd Column Größe", null=True),
        models.CharField(max_length=9, null=True, db_index=True),
        models.JSONField(null=True),
        models.BinaryField(null=True),
        models.IntegerField(null=True),
    ],
    ids=repr,
)
def test_columns_of_every_type_and_name(project, field):
    project.add(LABEL, patient(notes=field))
    project.add(LABEL, AlterModelTable("Patient", "Odd Table Größe"))
    project.migrate()
    value = b"1" if isinstance(field, models.BinaryField) else 1
    project.rows(LABEL, "Patient").create(notes=value)
    project.add(LABEL, alter("notes", EncryptedJSONField(null=True)))
    with pytest.raises(ConversionRefused, match="leave its 1 value"):
        project.migrate()


class TestAllowed:
    def test_an_empty_table(self, project):
        project.add(LABEL, patient(notes=models.TextField()))
        project.migrate()
        project.add(LABEL, alter("notes", ENCRYPTED))
        project.migrate()
        project.rows(LABEL, "Patient").create(notes="a")
        assert project.rows(LABEL, "Patient").get().notes == "a"

    def test_an_empty_column(self, plain):
        plain.rows(LABEL, "Patient").update(notes=None)
        plain.add(LABEL, alter("notes", EncryptedTextField(null=True)))
        plain.migrate()
        plain.rows(LABEL, "Patient").update(notes="a")

    def test_a_column_of_the_same_plan(self, project):
        project.add(LABEL, patient(notes=models.TextField()))
        project.add(LABEL, AddField("Patient", "more", models.TextField(default="")))
        project.add(LABEL, alter("notes", ENCRYPTED), alter("more", ENCRYPTED))
        project.migrate()

    def test_a_column_that_takes_the_place_of_another(self, plain):
        plain.add(LABEL, RenameField("Patient", "notes", "old"))
        plain.add(LABEL, AddField("Patient", "notes", models.TextField(null=True)))
        plain.add(LABEL, alter("notes", EncryptedTextField(null=True)))
        plain.migrate()
        assert set(plain.column(LABEL, "Patient", "notes")) == {None}

    def test_a_table_that_is_not_there(self, project):
        project.add(LABEL, patient(notes=models.TextField()))
        project.migrate(fake=True)
        project.add(LABEL, alter("notes", ENCRYPTED))
        project.migrate(fake=True)

    def test_another_encrypted_field(self, project):
        project.add(LABEL, patient(notes=ENCRYPTED))
        project.migrate()
        project.rows(LABEL, "Patient").create(notes="[]")
        project.add(LABEL, alter("notes", EncryptedTextField(key="lab", null=True)))
        project.add(LABEL, alter("notes", EncryptedJSONField()))
        project.migrate()
        project.migrate(LABEL, "0001")

    def test_a_state_without_a_database(self, plain):
        """Who converted the column otherwise says so."""
        plain.add(LABEL, SeparateDatabaseAndState(state_operations=[alter("notes", ENCRYPTED)]))
        plain.migrate()

    def test_an_operation_that_converts_by_itself(self, plain):
        """It says what the state is then, and does to the database what it likes."""
        plain.add(LABEL, Converting("notes"), after=[DEFAULT_KEY])
        plain.migrate()
        notes = plain.rows(LABEL, "Patient").values_list("notes", flat=True)
        assert sorted(filter(None, notes)) == ["a", "b"]

    def test_sql_that_converts_by_itself(self, plain):
        """Its state operations do nothing to the database."""
        said = [alter("notes", EncryptedTextField(null=True))]
        plain.add(LABEL, RunSQL("DELETE FROM zzz_clinic_patient", state_operations=said))
        plain.migrate()

    def test_a_model_that_is_not_managed(self, plain):
        plain.add(LABEL, migrations.AlterModelOptions("Patient", {"managed": False}))
        plain.migrate()
        plain.add(LABEL, alter("notes", ENCRYPTED))
        plain.migrate()

    def test_a_database_that_the_router_forbids(self, plain):
        plain.add(LABEL, alter("notes", ENCRYPTED))
        with override_settings(DATABASE_ROUTERS=[f"{__name__}.NoClinic"]):
            plain.migrate()


class NoClinic:
    def allow_migrate(self, db, app_label, **hints):
        return app_label not in (LABEL, PATIENT[0])


class TestInTheMiddleOfAPlan:
    """What a plan writes is not there when it begins."""

    @pytest.fixture
    def seeded(self, project):
        project.add(PATIENT[0], patient(notes=models.TextField()))
        project.add(PATIENT[0], migrations.RunPython(write_notes, migrations.RunPython.noop))
        return project

    @staticmethod
    def refused(project, *target):
        with pytest.raises(ConversionRefused) as error:
            project.migrate(*target)
        return str(error.value)

    @staticmethod
    def stored(project):
        return {bytes(str(value), "utf-8") for value in project.column(*PATIENT, "notes")}

    @pytest.mark.parametrize(
        "operation",
        [
            alter("notes", ENCRYPTED),
            CarefulAlterField("patient", "notes", ENCRYPTED),
            SeparateDatabaseAndState([alter("notes", ENCRYPTED)], [alter("notes", ENCRYPTED)]),
            SeparateDatabaseAndState([SeparateDatabaseAndState([alter("notes", ENCRYPTED)])]),
        ],
        ids=str,
    )
    def test_a_migration_fills_the_column(self, seeded, operation):
        seeded.add(PATIENT[0], operation)
        for _ in range(2):
            assert self.refused(seeded).startswith(
                "The migration aaa_clinic.0003 would make aaa_clinic.Patient.notes an encrypted "
                "field, and leave its 2 values in the database 'scratch' unencrypted"
            )
            assert self.stored(seeded) == {b"first", b"second"}

    def test_the_same_migration_fills_it(self, project):
        project.add(PATIENT[0], patient(notes=models.TextField()))
        project.add(PATIENT[0], migrations.RunPython(write_notes), alter("notes", ENCRYPTED))
        assert "leave its 2 values" in self.refused(project)

    def test_after_a_renaming(self, seeded):
        seeded.add(PATIENT[0], RenameModel("Patient", "Person"))
        seeded.add(PATIENT[0], AlterField("Person", "notes", ENCRYPTED))
        assert "make aaa_clinic.Person.notes an encrypted" in self.refused(seeded)

    def test_to_a_plain_column(self, project):
        project.add(PATIENT[0], patient(notes=ENCRYPTED))
        project.add(PATIENT[0], migrations.RunPython(write_notes), after=[DEFAULT_KEY])
        project.add(PATIENT[0], alter("notes", PLAIN))
        assert "make aaa_clinic.Patient.notes a field that is not encr" in self.refused(project)

    def test_backwards(self, project):
        project.add(PATIENT[0], patient(notes=models.TextField()), after=[DEFAULT_KEY])
        project.add(PATIENT[0], alter("notes", ENCRYPTED))
        project.add(PATIENT[0], migrations.RunPython(migrations.RunPython.noop, write_notes))
        project.migrate()
        assert self.refused(project, PATIENT[0], "0001").startswith(
            "Reversing the migration aaa_clinic.0002 would make aaa_clinic.Patient.notes a field "
            "that is not encrypted, and leave its 2 values in the database 'scratch' encrypted"
        )
        stored = project.rows(*PATIENT).values_list("notes", flat=True)
        assert list(stored) == ["first", "second"]

    def test_back_and_forth_in_one_process(self, project):
        project.add(PATIENT[0], patient(notes=models.TextField()))
        project.add(PATIENT[0], alter("notes", ENCRYPTED))
        for _ in range(3):
            project.migrate()
            project.migrate(PATIENT[0], "0001")

    def test_a_database_that_the_router_forbids(self, seeded):
        seeded.migrate()
        seeded.add(PATIENT[0], alter("notes", ENCRYPTED))
        with override_settings(DATABASE_ROUTERS=[f"{__name__}.NoClinic"]):
            seeded.migrate()
        assert self.stored(seeded) == {b"first", b"second"}

    def test_its_sql(self, seeded):
        """`sqlmigrate` runs nothing, and may come after a plan in the same process."""
        seeded.add(PATIENT[0], alter("notes", ENCRYPTED))
        self.refused(seeded)
        call_command("sqlmigrate", PATIENT[0], "0003", database="scratch")
        assert self.stored(seeded) == {b"first", b"second"}


class TestBackwards:
    @pytest.fixture
    def converted(self, project):
        """A column that was converted while it was empty, and holds an encrypted value now."""
        project.add(LABEL, patient(notes=models.TextField()))
        project.add(LABEL, alter("notes", ENCRYPTED))
        project.migrate()
        project.rows(LABEL, "Patient").create(notes="a")
        return project

    def test_reversing_the_migration(self, converted):
        with pytest.raises(ConversionRefused) as error:
            converted.migrate(LABEL, "0001")
        assert str(error.value).startswith(
            "Reversing the migration zzz_clinic.0002 would make zzz_clinic.Patient.notes a field "
            "that is not encrypted, and leave its 1 value in the database 'scratch' encrypted"
        )
        assert converted.rows(LABEL, "Patient").get().notes == "a"

    def test_reversing_to_zero(self, converted):
        with pytest.raises(ConversionRefused):
            converted.migrate(LABEL, "zero")

    def test_reversing_an_empty_column(self, converted):
        converted.rows(LABEL, "Patient").all().delete()
        converted.migrate(LABEL, "zero")
        converted.migrate()

    def test_after_a_renaming(self, converted):
        converted.add(LABEL, RenameField("Patient", "notes", "other"))
        converted.add(LABEL, RenameModel("Patient", "Person"))
        converted.migrate()
        with pytest.raises(ConversionRefused, match=r"0002 would make zzz_clinic\.Person\.other"):
            converted.migrate(LABEL, "0001")

    def test_a_column_that_is_gone(self, project):
        """Going back makes it anew, with nothing in it."""
        project.add(LABEL, patient(notes=models.TextField(null=True)))
        project.add(LABEL, alter("notes", EncryptedTextField(null=True)))
        project.add(LABEL, migrations.RemoveField("Patient", "notes"))
        project.migrate()
        project.rows(LABEL, "Patient").create()
        project.migrate(LABEL, "0001")
        assert project.rows(LABEL, "Patient").get().notes is None

    def test_an_operation_for_the_database_alone(self, converted):
        both = [alter("notes", models.TextField())]
        converted.rows(LABEL, "Patient").all().delete()
        converted.add(LABEL, SeparateDatabaseAndState(both, both))
        converted.migrate()
        converted.rows(LABEL, "Patient").create(notes="plain")
        with pytest.raises(ConversionRefused, match="an encrypted field, and leave its 1 value"):
            converted.migrate(LABEL, "0002")

    def test_forwards_to_a_plain_field(self, converted):
        converted.add(LABEL, alter("notes", PLAIN))
        with pytest.raises(ConversionRefused, match="a field that is not encrypted"):
            converted.migrate()


class TestWithoutIt:
    """What the guard leaves alone."""

    def test_other_plans_cost_nothing(self, project, monkeypatch):
        project.add(LABEL, patient(notes=ENCRYPTED), after=[DEFAULT_KEY])
        project.add(LABEL, AddField("Patient", "more", models.TextField(default="")))
        project.migrate("envelope_fields")  # its own migrations alter a field
        monkeypatch.setattr(migration_plan, "MigrationLoader", None)
        project.migrate()
        project.migrate()
        project.migrate(LABEL, "zero")

    def test_plain_changes(self, plain):
        plain.add(LABEL, alter("notes", models.TextField(default="")))
        plain.migrate()
        plain.migrate(LABEL, "0001")

    def test_showing_a_plan(self, plain, capsys):
        plain.add(LABEL, alter("notes", ENCRYPTED))
        plain.migrate(plan=True)
        call_command("sqlmigrate", LABEL, "0002", database="scratch")
        assert untouched(plain)

    def test_faking_is_refused_too(self, plain):
        """The signal does not tell it apart; what is faked belongs into state_operations."""
        plain.add(LABEL, alter("notes", ENCRYPTED))
        with pytest.raises(ConversionRefused):
            plain.migrate(fake=True)


class TestSquashedMigrations:
    REPLACES = {"replaces": [(LABEL, "0001"), (LABEL, "0002")], "dependencies": []}

    def test_forwards(self, project):
        project.add(LABEL, patient(notes=models.TextField()))
        project.add(LABEL, alter("notes", models.TextField(blank=True)))
        project.migrate()
        project.rows(LABEL, "Patient").create(notes="a")
        project.add(LABEL, patient(notes=models.TextField(blank=True)), **self.REPLACES)
        project.add(LABEL, alter("notes", ENCRYPTED))
        with pytest.raises(ConversionRefused):
            project.migrate()

    def test_reversing_what_was_replaced(self, project):
        project.add(LABEL, patient(notes=models.TextField()))
        project.add(LABEL, alter("notes", ENCRYPTED))
        project.migrate()
        project.rows(LABEL, "Patient").create(notes="a")
        project.add(LABEL, patient(notes=ENCRYPTED), **self.REPLACES)
        project.migrate()
        with pytest.raises(ConversionRefused, match="Reversing"):
            project.migrate(LABEL, "0001")
