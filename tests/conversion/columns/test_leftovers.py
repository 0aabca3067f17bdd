"""What is left in clear when a column is empty."""

import pytest
from django.db import connection

from envelope_fields.conversion.column_phases import moving_field
from envelope_fields.databases.leftovers import leftovers
from tests.conversion.columns.test_steps import convert, old_rows
from tests.models import moving
from tests.models.moving import OldEverything
from tests.models.tables import tables_of

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(moving.apps, "other")


def named():
    field = moving_field("moving.Everything.code")
    quote = connection.ops.quote_name
    return quote(field.model._meta.db_table), quote(field.plain_field.column)


def test_the_last_phase_says_what_is_left():
    old_rows()
    convert("encrypted")
    out, error = convert("only")
    assert error == ""
    assert "What is left in clear, and what ends it:" in out
    assert "backups, snapshots, and replicas that were stopped. delete those from before." in out
    wanted = {
        "postgresql": ("pg_stats): no value, after ANALYZE", "VACUUM (FULL, ANALYZE)", "slots"),
        "mysql": ("mysql.column_stats): no value", "OPTIMIZE TABLE", "undo log", "binary log"),
        "sqlite": ("free pages", "VACUUM"),
    }
    for each in wanted[connection.vendor]:
        assert each in out


def test_statistics_show_values_until_they_are_made_anew():
    """As the database would have made them by itself, before."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite samples indexes alone")
    table, column = named()
    OldEverything.objects.bulk_create(OldEverything(code="a secret") for _ in range(200))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"ANALYZE {table}")
            shown = "SELECT count(*) FROM pg_stats WHERE most_common_vals::text LIKE '%secret%'"
        else:
            cursor.execute(f"ANALYZE TABLE {table} PERSISTENT FOR COLUMNS ({column}) INDEXES ()")
            cursor.fetchall()
            shown = "SELECT count(*) FROM mysql.column_stats WHERE min_value LIKE '%secret%'"
    OldEverything.objects.update(code=None)

    def count():
        with connection.cursor() as cursor:
            cursor.execute(shown)
            return cursor.fetchone()[0]

    assert count() == 1
    found = leftovers("default", table, column)
    assert count() == 0
    assert found[0].is_clear


def test_values_that_are_there_are_not_said_to_be_gone():
    if connection.vendor == "sqlite":
        pytest.skip("SQLite samples indexes alone")
    table, column = named()
    OldEverything.objects.bulk_create(OldEverything(code="a secret") for _ in range(200))
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE TABLE {table} PERSISTENT FOR COLUMNS ({column}) INDEXES ()")
            cursor.fetchall()
    statistics = leftovers("default", table, column)[0]
    assert not statistics.is_clear
    assert statistics.found == "values are shown there"
