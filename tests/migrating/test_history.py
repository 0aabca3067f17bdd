"""Rows of the past, which a table WITH SYSTEM VERSIONING keeps (MariaDB)."""

import pytest
from django.db import models

from envelope_fields.databases.tables import has_rows
from envelope_fields.fields import EncryptedTextField
from envelope_fields.migrating.refusals import ConversionRefused
from tests.migrating.columns import alter, patient

pytestmark = pytest.mark.with_our_tables

LABEL = "zzz_clinic"
TABLE = f"{LABEL}_patient"


@pytest.fixture
def kept(project):
    """A table that has no row, and one of the past."""
    if project.connection.vendor != "mysql":
        pytest.skip("only MariaDB keeps rows of the past")
    project.add(LABEL, patient(notes=models.TextField(null=True)))
    project.migrate()
    project.execute(
        f"ALTER TABLE {TABLE} ADD SYSTEM VERSIONING",
        f"INSERT INTO {TABLE} (notes) VALUES ('a')",
        f"DELETE FROM {TABLE}",
        "SET system_versioning_alter_history = KEEP",
    )
    return project


def test_their_plain_values_do_not_become_encrypted_ones(kept):
    kept.add(LABEL, alter("notes", EncryptedTextField(null=True)))
    with pytest.raises(ConversionRefused, match=r"leave its 1 value .* DELETE HISTORY"):
        kept.migrate()
    kept.execute(f"DELETE HISTORY FROM {TABLE}")
    kept.migrate()


def test_they_are_rows_of_the_table(kept):
    """A column that is added is theirs, and takes a value that can be read."""
    model = kept.rows(LABEL, "Patient").model
    assert has_rows(model, kept.alias)
    kept.execute(f"DELETE HISTORY FROM {TABLE}")
    assert not has_rows(model, kept.alias)
