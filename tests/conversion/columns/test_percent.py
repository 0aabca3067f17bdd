"""A percent sign in the names of a table that moves: steps go on, as far as Django does."""

import pytest
from django.db import connection, connections, models

from envelope_fields.conversion.column_phases import moving_field
from envelope_fields.conversion.counts import Counted, counted
from envelope_fields.fields import EncryptedTextField
from tests.conversion.columns.test_steps import convert
from tests.models.tables import Registry

pytestmark = pytest.mark.django_db(databases="__all__")
apps = Registry("percent")

TABLE = "100% of %s"


class Visit(models.Model):
    report_clear = models.TextField(null=True, db_column="50% %s", editable=False)
    report = EncryptedTextField(null=True, converts="report_clear", db_column="% %% encrypted")

    class Meta:
        apps = apps
        app_label = "percent"
        db_table = TABLE


@pytest.fixture(scope="module", autouse=True)
def tables(django_db_setup, django_db_blocker):
    """Make and drop them; Django drops none of such a name."""
    aliases = ("default", "other")
    with django_db_blocker.unblock():
        for alias in aliases:
            with connections[alias].schema_editor() as editor:
                editor.create_model(Visit)
    yield
    with django_db_blocker.unblock():
        for alias in aliases:
            with connections[alias].cursor() as cursor:
                cursor.execute(f"DROP TABLE {connections[alias].ops.quote_name(TABLE)}")


LABEL = "percent.Visit.report"


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr("envelope_fields.census.columns.apps", apps)


def test_all_the_way():
    quote = connection.ops.quote_name
    table, old = quote(TABLE), quote("50% %s")
    with connection.cursor() as cursor:
        for number in range(3):
            cursor.execute(f"INSERT INTO {table} ({old}) VALUES ('report {number}')")
    for phase in ("verified", "encrypted", "only"):
        _, error = convert(phase, label=LABEL)
        assert error == "", phase
    assert counted(moving_field(LABEL)) == Counted(0, 3, 3)
