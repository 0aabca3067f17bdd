"""Rows that row-level security hides from whoever migrates, who is bound by it (PostgreSQL)."""

import os

import pytest
from django.db import migrations, models

from envelope_fields.databases import RowsHidden
from envelope_fields.databases.tables import count_values, has_rows
from envelope_fields.fields import EncryptedTextField
from tests.migrating.columns import add, alter, patient
from tests.migrating.project import DEFAULT_KEY

pytestmark = pytest.mark.with_our_tables

LABEL = "aaa_clinic"
TABLE = f"{LABEL}_patient"
ROLE = f"{os.environ.get('ENVELOPE_TEST_DB_PREFIX', 'envelope_fields')}_{os.getpid()}_owner"


@pytest.fixture
def bound(project):
    """Whoever migrates owns all tables, and sees no row of patients."""
    if project.connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has policies")
    project.add(LABEL, patient(notes=models.TextField(null=True)))
    project.migrate()
    project.rows(LABEL, "Patient").create(notes="a")
    project.execute(
        f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY nobody ON {TABLE} USING (false)",
        f'CREATE ROLE "{ROLE}"',
        f'GRANT ALL ON SCHEMA public TO "{ROLE}"',
        f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{ROLE}"',
        f'GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "{ROLE}"',
        f'ALTER TABLE {TABLE} OWNER TO "{ROLE}"',
        f'SET ROLE "{ROLE}"',
    )
    yield project
    project.execute("RESET ROLE", f'REASSIGN OWNED BY "{ROLE}" TO CURRENT_USER',
            f'DROP OWNED BY "{ROLE}"', f'DROP ROLE "{ROLE}"')  # fmt: skip


def test_a_column_with_hidden_values_does_not_become_encrypted(bound):
    bound.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    with pytest.raises(RowsHidden, match=rf'hides rows of "{TABLE}" in the database \'scratch\''):
        bound.migrate()


def test_a_new_column_has_a_value_in_hidden_rows(bound):
    bound.add(LABEL, add("secret", EncryptedTextField(default="none")), after=[DEFAULT_KEY])
    bound.migrate()
    bound.execute("RESET ROLE")
    assert [row.secret for row in bound.rows(LABEL, "Patient")] == ["none"]


def test_a_table_without_pages_has_no_rows(bound):
    bound.execute("RESET ROLE", f"TRUNCATE {TABLE}", f'SET ROLE "{ROLE}"')
    model = bound.model(LABEL, "Patient")
    assert not has_rows(model, "scratch")
    with pytest.raises(RowsHidden):
        count_values(model, "notes", "scratch")


def test_nothing_changes_for_the_transaction_around_it(bound):
    model = bound.model(LABEL, "Patient")
    assert has_rows(model, "scratch")
    assert bound.rows(LABEL, "Patient").count() == 0


def test_an_operation_that_runs_sql_may_see_them(bound):
    """The guard leaves the connection as it was, within the transaction of a migration."""
    bound.add(LABEL, add("secret", EncryptedTextField(default="none")),
              migrations.RunSQL(f"SELECT count(*) FROM {TABLE}"), after=[DEFAULT_KEY])  # fmt: skip
    bound.migrate()
