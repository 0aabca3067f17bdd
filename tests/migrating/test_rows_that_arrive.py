"""A row that comes into a table while a migration takes it for empty."""

import pytest
from django.db import connections, migrations

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields import EncryptedJSONField, EncryptedTextField, defaults
from tests.migrating.columns import (
    add,
    alter,
    load_notes,
    name,
    patient,
    update_notes,
    write_expression,
    write_notes,
)
from tests.migrating.project import DEFAULT_KEY

pytestmark = pytest.mark.with_our_tables

LABEL = "aaa_clinic"


@pytest.fixture
def arrives(project, monkeypatch):
    """Have another connection insert a row right after the table was found empty."""
    other = connections.create_connection("scratch")
    asked = []

    def has_rows(model, using):
        if not asked:
            asked.append(has(model, using))
            with other.cursor() as cursor:
                table = other.ops.quote_name(f"{LABEL}_patient")
                cursor.execute(f"INSERT INTO {table} (tenant) VALUES ('arrived')")
            return asked[0]
        return has(model, using)

    has = defaults.has_rows
    monkeypatch.setattr(defaults, "has_rows", has_rows)
    yield asked
    other.close()


def tenants(project):
    return list(project.rows(LABEL, "Patient").values_list("tenant", flat=True))


ADDED = {
    "default": EncryptedTextField(default="none"),
    "nullable": EncryptedTextField(default="none", null=True),
    "blank": EncryptedTextField(blank=True),
    "json": EncryptedJSONField(default=dict),
}


@pytest.mark.parametrize("field", ADDED.values(), ids=ADDED.keys())
def test_a_column_is_added(project, arrives, field):
    """The rows would hold what is no envelope, and none of them could be read."""
    project.add(LABEL, patient(tenant=name()))
    project.migrate()
    watchers = list(project.connection.execute_wrappers)
    # On SQLite, nothing is committed beside a transaction that has read.
    project.add(LABEL, add("notes", field), after=[DEFAULT_KEY], atomic=False)
    with pytest.raises(EnvelopeError, match=r"Patient\.notes: a row came .* run the migration"):
        project.migrate()
    assert arrives == [False]
    assert tenants(project) == ["arrived"]
    assert project.connection.execute_wrappers == watchers
    project.migrate()
    assert project.rows(LABEL, "Patient").get().notes in ("none", "", {})


def test_a_column_is_added_in_a_transaction(project, arrives):
    if project.connection.vendor == "sqlite":
        pytest.skip("nothing is committed beside a transaction that has read")
    project.add(LABEL, patient(tenant=name()))
    project.migrate()
    project.add(LABEL, add("notes", EncryptedTextField(default="x")), after=[DEFAULT_KEY])
    with pytest.raises(EnvelopeError, match="run the migration again"):
        project.migrate()
    project.migrate()
    assert project.rows(LABEL, "Patient").get().notes == "x"


def test_an_update(project, arrives):
    """The row, had it come earlier, would have the value that is written."""
    notes = EncryptedTextField(null=True)
    project.add(LABEL, patient(tenant=name(), notes=notes), after=[DEFAULT_KEY])
    project.add(LABEL, migrations.RunPython(update_notes), atomic=False)
    with pytest.raises(EnvelopeError, match="run the migration again"):
        project.migrate()
    assert tenants(project) == ["arrived"]
    project.migrate()
    assert project.rows(LABEL, "Patient").get().notes == "updated"


def test_null_is_refused(project, arrives):
    project.add(LABEL, patient(tenant=name(), notes=EncryptedTextField(null=True)))
    project.migrate()
    project.add(
        LABEL, alter("notes", EncryptedTextField(default="x")), after=[DEFAULT_KEY], atomic=False
    )
    with pytest.raises(EnvelopeError, match="run the migration again"):
        project.migrate()
    assert project.column(LABEL, "Patient", "notes") == [None]
    project.migrate()
    assert project.rows(LABEL, "Patient").get().notes == "x"


def test_nothing_is_watched_afterwards(project):
    """What a migration writes itself, after it added a column to an empty table, is let be."""
    project.add(LABEL, patient(tenant=name()))
    project.migrate()
    watchers = list(project.connection.execute_wrappers)
    project.add(LABEL, add("notes", EncryptedTextField(default="none")), after=[DEFAULT_KEY])
    project.add(LABEL, migrations.RunPython(load_notes))
    project.add(LABEL, migrations.RunPython(update_notes))
    project.add(LABEL, add("more", EncryptedTextField(null=True)))
    project.migrate()
    notes = project.rows(LABEL, "Patient").values_list("notes", flat=True)
    assert list(notes) == ["updated"] * 2
    assert project.connection.execute_wrappers == watchers


@pytest.mark.parametrize("write", [write_notes, write_expression, load_notes])
@pytest.mark.parametrize("field", [*ADDED.values()][:3], ids=[*ADDED][:3])
def test_rows_that_the_same_migration_writes(project, field, write):
    """The schema editor asks for the default again after the statement that it is for."""
    project.add(LABEL, patient(tenant=name()))
    operations = [migrations.RunPython(write), migrations.RunPython(update_notes)]
    project.add(LABEL, add("notes", field), *operations, after=[DEFAULT_KEY])
    project.migrate()
    notes = project.rows(LABEL, "Patient").values_list("notes", flat=True)
    assert set(notes) == {"updated"}


def test_others_that_watch_the_connection(project):
    """Django takes away the last one that came, when somebody has watched for long enough."""
    project.add(LABEL, patient(tenant=name()))
    project.migrate()
    watchers = list(project.connection.execute_wrappers)
    model = project.model(LABEL, "Patient")
    field = EncryptedTextField()
    field.set_attributes_from_name("notes")
    field.model = model
    with project.connection.execute_wrapper(lambda execute, *asked: execute(*asked)):
        assert field.get_db_prep_save("x", project.connection) is None
    model.objects.using(project.alias).create(tenant="a")
    assert project.connection.execute_wrappers == watchers
