"""Encrypted columns in fresh and in old projects, whose apps migrate before or after ours."""

import re

import pytest
from django.core.exceptions import FieldError
from django.db import IntegrityError, migrations, models
from django.db.models.functions import Concat, Lower
from django.db.transaction import TransactionManagementError

from envelope_fields.exceptions import MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.fields import EncryptedJSONField, EncryptedTextField
from envelope_fields.lifecycle import create_master_key
from envelope_fields.migrating.new_columns import NoValueForRows
from envelope_fields.models import MasterKey
from tests.migrating.columns import (
    COLUMNS,
    add,
    alter,
    load_notes,
    name,
    patient,
    tenant,
    tenant_or_default,
    update_notes,
    write_expression,
    write_notes,
)
from tests.migrating.project import DEFAULT_KEY

DEPENDENCY = r'\("envelope_fields", "0002_default_master_key"\)'
LABELS = ["aaa_clinic", "zzz_clinic"]  # leaf nodes are migrated in this order


@pytest.mark.parametrize("label", LABELS)
def test_a_fresh_project(project, label):
    """No migration needs an edit: nothing is written, so no key is needed."""
    project.add(label, patient(tenant=name(), **COLUMNS))
    project.add(label, *(add(f"added_{column}", field) for column, field in COLUMNS.items()))
    project.migrate()
    assert MasterKey.objects.using("scratch").get().alias == "default"
    create_master_key("lab")
    model = project.model(label, "Patient")
    row = model(tenant="lab", neither="a", added_neither="b", json={"a": [0]})
    row.save(using="scratch")
    row = project.rows(label, "Patient").get()
    assert (row.default, row.added_default, row.row_key) == ("none", "none", "none")
    assert (row.neither, row.added_neither, row.blank) == ("a", "b", "")
    assert (row.json, row.added_json, row.json_zero) == ({"a": [0]}, {}, 0)
    assert (row.nullable, row.json_nullable) == (None, None)


@pytest.mark.parametrize("label", LABELS)
def test_before_our_tables_exist(project, label):
    project.add(label, patient(notes=EncryptedTextField(default="none")))
    project.add(label, add("record", EncryptedJSONField(default=dict)))
    project.migrate(label)
    assert MasterKey._meta.db_table not in project.connection.introspection.table_names()
    with pytest.raises(MasterKeyUnusable):
        project.rows(label, "Patient").create()
    project.migrate()
    project.rows(label, "Patient").create()
    row = project.rows(label, "Patient").get()
    assert (row.notes, row.record) == ("none", {})


class TestRowsAreThere:
    """`AddField` in a table that has rows: its default is encrypted, once for all of them."""

    LABEL = "aaa_clinic"

    @pytest.fixture(autouse=True)
    def rows(self, project):
        project.add(self.LABEL, patient(tenant=name()))
        project.migrate(self.LABEL)
        for _ in range(3):
            project.rows(self.LABEL, "Patient").create()

    def added(self, project):
        return list(project.rows(self.LABEL, "Patient").values_list("notes", flat=True))

    def test_without_a_key(self, project):
        project.add(self.LABEL, add("notes", EncryptedTextField(default="none")))
        with pytest.raises(MasterKeyUnusable, match=DEPENDENCY):
            project.migrate(self.LABEL)

    def test_with_the_tables_and_no_key(self, project):
        project.migrate("envelope_fields", "0001")
        MasterKey.objects.using("scratch").update(alias=None)
        project.add(self.LABEL, add("notes", EncryptedTextField(default="none")))
        with pytest.raises(MasterKeyNotFound, match=DEPENDENCY):
            project.migrate(self.LABEL)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            (EncryptedTextField(default="none"), "none"),
            (EncryptedTextField(default=str), ""),
            (EncryptedTextField(blank=True), ""),
            (EncryptedTextField(blank=True, default="ä"), "ä"),
            (EncryptedTextField(default="none", key=tenant_or_default), "none"),
            (EncryptedTextField(default="none", db_column="Odd Größe"), "none"),
            (EncryptedJSONField(default=dict), {}),
            (EncryptedJSONField(default=0), 0),
            (EncryptedJSONField(default=False, null=True), False),
        ],
        ids=repr,
    )
    def test_with_the_dependency(self, project, field, value):
        project.add(self.LABEL, add("notes", field), after=[DEFAULT_KEY])
        project.migrate()
        assert self.added(project) == [value] * 3
        # One default of the schema, one envelope: visible as equal bytes.
        assert len(set(project.column(self.LABEL, "Patient", "notes"))) == 1

    def test_null_needs_no_key(self, project):
        project.add(self.LABEL, add("notes", EncryptedTextField(null=True)))
        project.migrate(self.LABEL)
        assert project.column(self.LABEL, "Patient", "notes") == [None] * 3

    def test_a_key_of_the_row(self, project):
        """There is no row to ask: every value would lie under one tenant's key."""
        project.add(self.LABEL, add("notes", EncryptedTextField(default="", key=tenant)))
        project.migrate("envelope_fields")
        with pytest.raises(FieldError, match=r"aaa_clinic\.Patient\.notes takes its key from"):
            project.migrate()

    def test_from_null_to_not_null(self, project):
        project.add(self.LABEL, add("notes", EncryptedTextField(null=True)), after=[DEFAULT_KEY])
        project.migrate()
        row = project.rows(self.LABEL, "Patient").first()
        row.notes = "kept"
        row.save()
        kept = set(project.column(self.LABEL, "Patient", "notes")) - {None}
        project.add(self.LABEL, alter("notes", EncryptedTextField(default="filled")))
        project.migrate()
        assert self.added(project) == ["kept", "filled", "filled"]
        assert kept < set(project.column(self.LABEL, "Patient", "notes"))
        with pytest.raises(IntegrityError):
            project.rows(self.LABEL, "Patient").update(notes=None)

    @pytest.mark.parametrize("field", [EncryptedTextField(), EncryptedJSONField()], ids=repr)
    def test_no_value(self, project, field):
        """MariaDB would give each row no bytes, and none of them could be read."""
        project.add(self.LABEL, add("notes", field), after=[DEFAULT_KEY])
        with pytest.raises(
            NoValueForRows, match=r"Patient\.notes takes no NULL and has no default"
        ):
            project.migrate()
        assert not hasattr(project.rows(self.LABEL, "Patient")[0], "notes")

    def test_a_column_that_comes_back(self, project):
        project.add(self.LABEL, add("notes", EncryptedTextField(blank=True)), after=[DEFAULT_KEY])
        project.add(self.LABEL, alter("notes", EncryptedTextField()))
        project.add(self.LABEL, migrations.RemoveField("patient", "notes"))
        project.migrate()
        with pytest.raises(NoValueForRows, match=r"^Remove field notes from patient: "):
            project.migrate(self.LABEL, "0003")
        project.rows(self.LABEL, "Patient").delete()
        project.migrate(self.LABEL, "0003")

    def test_a_table_that_django_does_not_manage(self, project):
        unmanaged = migrations.AlterModelOptions("patient", {"managed": False})
        project.add(self.LABEL, unmanaged, add("notes", EncryptedTextField()), after=[DEFAULT_KEY])
        project.migrate()

    def test_odd_table_names(self, project):
        project.add(self.LABEL, migrations.AlterModelTable("Patient", "Odd Table Größe"))
        project.add(
            self.LABEL, add("notes", EncryptedTextField(default="none")), after=[DEFAULT_KEY]
        )
        project.migrate()
        assert self.added(project) == ["none"] * 3


class TestDataMigrations:
    """Migrations that write encrypted values into rows."""

    def test_with_the_dependency(self, project):
        project.add("aaa_clinic", patient(notes=EncryptedTextField()))
        project.add("aaa_clinic", migrations.RunPython(write_notes), after=[DEFAULT_KEY])
        project.add("aaa_clinic", add("more", EncryptedTextField(default="none")))
        project.migrate()
        notes = project.rows("aaa_clinic", "Patient").values_list("notes", "more")
        assert list(notes) == [("first", "none"), ("second", "none")]

    def test_a_fixture(self, project):
        """Its first row comes to an empty table, where AddField's defaults need no key."""
        project.add("aaa_clinic", patient(notes=EncryptedTextField()))
        project.add("aaa_clinic", migrations.RunPython(load_notes), after=[DEFAULT_KEY])
        project.migrate()
        notes = project.rows("aaa_clinic", "Patient").values_list("notes", flat=True)
        assert list(notes) == ["loaded"] * 2

    def test_an_expression(self, project):
        """It is for a row, which AddField's defaults in an empty table are not."""
        project.add("aaa_clinic", patient(notes=EncryptedTextField()))
        project.add("aaa_clinic", migrations.RunPython(write_expression), after=[DEFAULT_KEY])
        project.migrate()
        assert project.rows("aaa_clinic", "Patient").get().notes == "first"

    def test_without_the_dependency(self, project):
        project.add("aaa_clinic", patient(notes=EncryptedTextField()))
        project.add("aaa_clinic", migrations.RunPython(write_notes))
        # On SQLite the schema editor hides what save() raised behind an error of its own.
        with pytest.raises((MasterKeyUnusable, TransactionManagementError)) as raised:
            project.migrate()
        error = raised.value
        assert re.search(DEPENDENCY, f"{error} {error.__context__}")

    def test_an_update_without_rows_needs_no_key(self, project):
        project.add("aaa_clinic", patient(notes=EncryptedTextField()))
        project.add("aaa_clinic", migrations.RunPython(update_notes))
        project.migrate()


def test_back_to_zero_and_forward(project):
    project.add("aaa_clinic", patient(notes=EncryptedTextField()))
    project.add(
        "aaa_clinic",
        migrations.RunPython(write_notes, migrations.RunPython.noop),
        after=[DEFAULT_KEY],
    )
    project.add("aaa_clinic", add("more", EncryptedJSONField(default=dict)))
    for _ in range(2):
        project.migrate()
        rows = project.rows("aaa_clinic", "Patient").values_list("notes", "more")
        assert list(rows) == [("first", {}), ("second", {})]
        project.migrate("aaa_clinic", "0001")
        notes = project.rows("aaa_clinic", "Patient").values_list("notes", flat=True)
        assert list(notes) == ["first", "second"]
        project.migrate("aaa_clinic", "zero")


def test_plain_columns_stay_plain(project):
    project.add("aaa_clinic", patient(notes=models.TextField()))
    project.add("aaa_clinic", alter("notes", models.TextField(blank=True)))
    project.migrate()


DB_DEFAULTS = [
    "plain",
    "",
    None,
    models.Value("plain"),
    Lower(models.Value("PLAIN")),
    Concat(models.Value("pl"), models.Value("ain")),
]


@pytest.mark.with_our_tables
class TestDbDefault:
    """The database would store it as it is, in the schema and in every row."""

    @pytest.fixture(autouse=True)
    def table(self, project):
        project.add("aaa_clinic", patient(tenant=name()))
        project.migrate()
        project.rows("aaa_clinic", "Patient").create()

    def columns(self, project):
        with project.connection.cursor() as cursor:
            table = project.connection.introspection.get_table_description(
                cursor, "aaa_clinic_patient"
            )
        return [column.name for column in table]

    def refused(self, project, operation):
        project.add("aaa_clinic", operation, after=[DEFAULT_KEY])
        with pytest.raises(FieldError, match=r"\.notes is encrypted: db_default"):
            project.migrate()

    @pytest.mark.parametrize("default", DB_DEFAULTS, ids=repr)
    def test_a_new_column(self, project, default):
        self.refused(project, add("notes", EncryptedTextField(db_default=default, null=True)))
        assert self.columns(project) == ["id", "tenant"]

    def test_json(self, project):
        self.refused(project, add("notes", EncryptedJSONField(db_default={"a": 1})))
        assert self.columns(project) == ["id", "tenant"]

    def test_a_column_that_is_there(self, project):
        project.add("aaa_clinic", add("notes", EncryptedTextField(null=True)))
        project.migrate()
        field = EncryptedTextField(db_default=Lower(models.Value("PLAIN")))
        self.refused(project, alter("notes", field))
        assert project.column("aaa_clinic", "Patient", "notes") == [None]

    def test_a_new_table(self, project):
        other = migrations.CreateModel(
            "Other",
            [("id", models.BigAutoField(primary_key=True)),
             ("notes", EncryptedTextField(db_default="plain"))],
        )  # fmt: skip
        self.refused(project, other)
        assert "aaa_clinic_other" not in project.connection.introspection.table_names()
