"""A column that moves in several schemas, as where each tenant has one: all have one phase."""

import pytest
from django.db import connection

from envelope_fields.conversion.column_phases import moving_field, phase_now
from envelope_fields.conversion.counts import Counted, counted
from tests.census.schemas import execute, quoted
from tests.conversion.columns.test_steps import LABEL, convert, old_rows
from tests.models import moving
from tests.models.moving import OldVisit, Visit
from tests.models.tables import tables_of
from tests.stored import stored

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(moving.apps, "other")

TABLE = f'"{Visit._meta.db_table}"'


@pytest.fixture(autouse=True)
def only_where_there_are_schemas():
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has schemas")


def make_schema(name, *reports):
    schema = quoted(name)
    execute(
        f"CREATE SCHEMA {schema}", f"CREATE TABLE {schema}.{TABLE} (LIKE {TABLE} INCLUDING ALL)"
    )
    with in_schema(name):
        OldVisit.objects.bulk_create(OldVisit(report=each) for each in reports)


class in_schema:
    """As in a request of the tenant of a schema."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        execute(f"SET search_path = {quoted(self.name)}, public")

    def __exit__(self, *exception):
        execute("SET search_path = public")


def test_all_move_together():
    make_schema("acme", "of acme")
    make_schema("beta", "of beta", "and more")
    old_rows(1)
    assert convert("encrypted")[1] == ""
    assert convert("only")[1] == ""
    for schema, reports in (("acme", ["of acme"]), ("beta", ["of beta", "and more"])):
        with in_schema(schema):
            assert sorted(each.report for each in Visit.objects.all()) == sorted(reports)
            assert not OldVisit.objects.filter(report__isnull=False).exists()


@pytest.mark.parametrize("phase", ["both", "verified", "encrypted"])
def test_schema_that_is_not_migrated_yet_holds_up_the_steps(phase):
    make_schema("acme", "of acme")
    execute(f'ALTER TABLE acme.{TABLE} DROP COLUMN "report_encrypted"')
    before = "clear" if phase == "both" else "filling"
    _, error = convert(phase)
    if phase != "both":  # nothing is counted before
        assert "acme.Moving Visits in the database 'default' does not have its new column" in error
        assert phase_now(moving_field(LABEL)) == before


def test_table_of_another_kind_with_the_same_name():
    execute("CREATE SCHEMA archive", f"CREATE TABLE archive.{TABLE} (id bigint)")
    old_rows(1)
    assert convert("encrypted")[1] == ""


def test_schema_that_is_restored_as_it_was_before_the_move():
    """What has been restored is in the old column alone, and goes into the new one."""
    old_rows(1)
    convert("encrypted")
    convert("only")
    make_schema("acme", "of a backup")
    assert counted(moving_field(LABEL)) == Counted(1, 1, 2)
    out, error = convert("only")
    assert error == ""
    assert "1 value emptied, 0 failed" in out
    with in_schema("acme"):
        [visit] = Visit.objects.all()
        assert visit.report == "of a backup"
        assert stored(visit, "report_clear") is None
