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
            # The table is the server's, and others test theirs at the same time.
            shown = (
                "SELECT count(*) FROM mysql.column_stats "
                "WHERE db_name = DATABASE() AND min_value LIKE '%secret%'"
            )
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


@pytest.fixture
def audited():
    """A trigger of the project, which could copy what is overwritten."""
    table, column = named()
    begins = f"CREATE TRIGGER audited BEFORE UPDATE ON {table}"
    made, dropped = {
        "postgresql": (
            [
                "CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$ "
                "BEGIN RETURN NEW; END $$",
                f"{begins} FOR EACH ROW EXECUTE FUNCTION audited()",
            ],
            "DROP FUNCTION audited CASCADE",
        ),
        "mysql": ([f"{begins} FOR EACH ROW SET @copied = OLD.{column}"], "DROP TRIGGER audited"),
        "sqlite": ([f"{begins} BEGIN SELECT 1; END"], "DROP TRIGGER audited"),
    }[connection.vendor]
    execute(*made)
    yield
    execute(dropped)


def execute(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.mark.django_db(databases="__all__", transaction=True)
def test_triggers_that_have_seen_the_values(audited):
    [found] = [each for each in leftovers("default", *named()) if "trigger" in each.where]
    assert found.where == "what triggers of the table have written (audited)"
    assert not found.is_clear


class TestPostgreSQL:
    @pytest.fixture(autouse=True)
    def table(self):
        if connection.vendor != "postgresql":
            pytest.skip("it is about PostgreSQL")

    def statistics(self, table, column):
        return leftovers("default", table, column)[0]

    def test_statistics_of_a_partition(self):
        execute(
            "CREATE TABLE parted (id int, code text) PARTITION BY RANGE (id)",
            "CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (1000)",
            "INSERT INTO parted SELECT 1, 'a secret' FROM generate_series(1, 200)",
            "ANALYZE part",
            "UPDATE parted SET code = NULL",
        )
        assert self.statistics('"parted"', '"code"').is_clear
        execute("UPDATE parted SET code = 'a secret'", "ANALYZE part")
        execute("DELETE FROM parted")
        assert not self.statistics('"parted"', '"code"').is_clear  # of no row, none are made

    @pytest.mark.django_db(databases="__all__", transaction=True)
    def test_dead_rows_of_a_partition(self):
        execute(
            "CREATE TABLE parted (id int, code text) PARTITION BY RANGE (id)",
            "CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (1000) "
            "WITH (autovacuum_enabled = off)",  # or there may be none any more
            "INSERT INTO parted SELECT 1, 'a secret' FROM generate_series(1, 200)",
            "UPDATE parted SET code = NULL",
            "SELECT pg_stat_force_next_flush()",
        )
        try:
            found = {each.where: each.found for each in leftovers("default", '"parted"', '"code"')}
        finally:
            execute("DROP TABLE parted")
        assert found["dead rows of the table"] == "about 200"

    def test_statistics_of_an_expression(self):
        table, column = named()
        OldEverything.objects.bulk_create(OldEverything(code="a secret") for _ in range(200))
        execute(f"CREATE INDEX of_code ON {table} (upper({column}))", f"ANALYZE {table}")
        OldEverything.objects.all().delete()
        found = self.statistics(table, column)
        assert found.found == "values are shown there"
        assert "go with the column" in found.command

    def test_statistics_that_cannot_be_looked_at(self, monkeypatch):
        monkeypatch.setattr("envelope_fields.databases.leftovers._STATISTICS", "SELECT 1 / 0")
        found = self.statistics(*named())
        assert (found.is_clear, found.found) == (False, "this role may not look")

    def test_materialized_view(self):
        table, column = named()
        execute(f"CREATE MATERIALIZED VIEW codes AS SELECT {column} AS code FROM {table}")
        execute(
            f"CREATE VIEW shown AS SELECT {column} AS code FROM {table}",
            "CREATE MATERIALIZED VIEW lengths AS SELECT length(code) FROM shown",
            "CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM lengths",
        )
        found = [each.command for each in leftovers("default", table, column)]
        refreshes = [each for each in found if each.startswith("REFRESH")]
        names = ("codes", "lengths", "counts")
        assert refreshes == [f"REFRESH MATERIALIZED VIEW {name}" for name in names]

    def test_rule(self):
        table, column = named()
        execute(
            f"CREATE TABLE copied AS SELECT {column} AS code FROM {table}",
            f"CREATE RULE copying AS ON UPDATE TO {table} DO ALSO "
            f"INSERT INTO copied VALUES (OLD.{column})",
        )
        [found] = [each for each in leftovers("default", table, column) if "trigger" in each.where]
        assert "copying" in found.where


@pytest.mark.django_db(databases="__all__", transaction=True)
def test_history_of_a_table():
    if connection.vendor != "mysql" or not connection.mysql_is_mariadb:
        pytest.skip("MariaDB keeps history")

    def found():
        [history] = [
            each for each in leftovers("default", "`kept`", "`code`") if "past" in each.found
        ]
        return history

    execute("CREATE TABLE kept (id int, code text) WITH SYSTEM VERSIONING")
    try:
        execute("INSERT INTO kept VALUES (1, 'a secret')", "UPDATE kept SET code = NULL")
        assert (found().found, found().is_clear) == ("rows of the past with a value: 1", False)
        execute(found().command)
        assert found().is_clear
    finally:
        execute("DROP TABLE kept")
