"""Rows that row-level security hides are counted, or it is an error (PostgreSQL)."""

import pytest
from django.db import connection, transaction

from envelope_fields.census import CensusFailed, census
from envelope_fields.lifecycle import create_master_key, schedule_deletion
from envelope_fields.models import MasterKey
from tests.census.schemas import BOUND, TABLE, as_bound_role, execute, hide_rows
from tests.models import LabNote, Note

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL has policies"),
]


@pytest.fixture(autouse=True)
def hidden():
    hide_rows()
    Note.objects.create(title="acme", text="a", data=None)


def test_whoever_sees_all_rows_counts_them():
    assert [row.values for row in census()] == [1]


def test_hidden_rows_are_an_error_that_names_table_and_cause():
    with (
        as_bound_role(),
        pytest.raises(
            CensusFailed, match=r"Note\.text.*row-level security hides rows of public\.tests_note"
        ),
    ):
        census()


def test_also_where_the_tenant_has_rows_to_see():
    execute("SET LOCAL app.tenant = 'acme'")
    with as_bound_role(), pytest.raises(CensusFailed, match="row-level security"):
        census()


def test_also_where_the_owner_is_bound():
    with as_bound_role(f'ALTER TABLE {TABLE} OWNER TO "{BOUND}"'):
        assert [row.values for row in census()] == [1], "an owner is not bound"
        execute(f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY")
        with pytest.raises(CensusFailed, match="row-level security"):
            census()


def test_a_key_with_hidden_values_is_not_deleted():
    create_master_key("lab")
    LabNote.objects.create(text="a")
    execute("ALTER TABLE tests_labnote ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {TABLE} DISABLE ROW LEVEL SECURITY")  # fmt: skip
    with as_bound_role(), pytest.raises(CensusFailed, match="LabNote"):
        schedule_deletion("lab")
    assert MasterKey.objects.get(alias="lab").state == "enabled"


def test_the_transaction_around_it_stays_as_it_was():
    execute("SET LOCAL app.tenant = 'acme'", f"ALTER TABLE {TABLE} NO FORCE ROW LEVEL SECURITY")
    with as_bound_role():
        with pytest.raises(CensusFailed):
            census()
        assert Note.objects.count() == 1, "the policy shows what it showed before"
    with transaction.atomic():
        census()
        with connection.cursor() as cursor:
            cursor.execute("SHOW row_security")
            assert cursor.fetchone() == ("on",)
