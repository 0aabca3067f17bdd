"""Whether a table is not there: only the database's own "no such table" says so."""

import pytest
from django.db import DatabaseError, IntegrityError, connection, models
from django.db.migrations.state import ModelState, ProjectState

from envelope_fields.databases.tables import count_values, has_rows

pytestmark = pytest.mark.django_db


def historical(table, **fields):
    state = ProjectState()
    fields = [("id", models.BigAutoField(primary_key=True)), *fields.items()]
    state.add_model(ModelState("zzz_clinic", "Patient", fields, {"db_table": table}))
    return state.apps.get_model("zzz_clinic", "Patient")


def test_no_table():
    model = historical("not_there", notes=models.TextField())
    assert not has_rows(model, "default")
    assert count_values(model, "notes", "default") == 0


@pytest.mark.parametrize("error", [DatabaseError, IntegrityError], ids=lambda e: e.__name__)
def test_a_question_that_was_not_answered(error):
    """A timeout or a lack of rights is no answer, also where the catalogue lists no such table."""

    def fail(execute, sql, params, many, context):
        if sql.startswith("SELECT"):
            raise error("canceling statement due to statement timeout")
        return execute(sql, params, many, context)

    model = historical("not_there", notes=models.TextField())
    with connection.execute_wrapper(fail):
        with pytest.raises(error):
            has_rows(model, "default")
        with pytest.raises(error):
            count_values(model, "notes", "default")


def test_a_column_that_is_not_there():
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
    assert "tests_note" in tables
    with pytest.raises(DatabaseError):
        count_values(historical("tests_note", odd=models.TextField()), "odd", "default")
