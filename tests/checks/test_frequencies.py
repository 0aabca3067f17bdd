"""Columns of blind indexes that hold few different values."""

import pytest
from django.core.checks import Tags
from django.core.checks.registry import registry
from django.db import connection, models
from django.test import override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps

from envelope_fields.checks import indexes
from envelope_fields.checks.indexes import check_frequencies
from envelope_fields.fields import BlindIndexField, EncryptedTextField
from tests.models.indexed import MODELS, Person, PersonProxy, Visit
from tests.models.tables import tables_of

pytestmark = pytest.mark.django_db

tables = tables_of(MODELS)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    checked = [Visit, Person, PersonProxy]
    monkeypatch.setattr(indexes, "checked_models", lambda configs: checked)
    return checked


def visits(*reasons):
    person = Person.objects.create(name="ada", email="ada@example.org")
    Visit.objects.bulk_create(Visit(person=person, reason=reason) for reason in reasons)


def found(databases=("default",)):
    return [(each.id, each.obj.name) for each in check_frequencies(databases=databases)]


W081 = [("envelope_fields.W081", "reason_index")]


@pytest.mark.parametrize(
    ("rows", "different", "expected"),
    [
        (0, 1, []),
        (31, 3, []),  # so few rows say nothing
        (32, 1, W081),
        (32, 31, W081),
        (64, 31, W081),
        (32, 32, []),
        (40, 33, []),
    ],
)
def test_how_many(rows, different, expected):
    visits(*(f"reason {number % different}" for number in range(rows)))
    assert found() == expected


def test_it_says_which_and_how_many_and_no_value():
    visits(*["Cough", "cold"] * 16)
    [message] = check_frequencies(databases=["default"])
    expected = "tests.Visit.reason_index has few different values in the database 'default' (2), "
    assert message.msg.startswith(expected)
    assert "cold" not in message.msg + message.hint


def test_equal_normal_forms_are_one_value_and_nulls_none():
    visits(*("Cough" if number % 2 else "cOUGH" for number in range(32)), *[""] * 9)
    [message] = check_frequencies(databases=["default"])
    assert " (1), " in message.msg


def test_rows_without_a_value_do_not_count():
    visits(*["Cough"] * 31, *[""] * 9)
    assert found() == []


def test_what_it_asks_does_not_grow_with_the_rows():
    visits(*["Cough", "cold", "flu"] * 40)
    with CaptureQueriesContext(connection) as asked:
        assert found() == W081
    selects = [each["sql"] for each in asked if each["sql"].startswith("SELECT")]
    # The rows of both indexes; then each different value, and that there is no other.
    assert len(selects) == 2 + 3 + 1
    assert all(" LIMIT " in sql for sql in selects)


def test_it_runs_where_databases_are_checked():
    tags = {check: check.tags for check in registry.get_checks()}
    assert Tags.database in tags[check_frequencies]


class Nowhere:
    def allow_migrate(self, db, app_label, **hints):
        return False


def test_only_databases_that_are_checked_and_have_the_model():
    visits(*["Cough"] * 32)
    assert found(databases=None) == []
    with override_settings(DATABASE_ROUTERS=[Nowhere()]):
        assert found() == []


@isolate_apps("tests")
@pytest.mark.parametrize("table", ["no_such_table", Visit._meta.db_table])
def test_before_a_migration(alone, table):
    class Planned(models.Model):
        text = EncryptedTextField()
        text_index = BlindIndexField("text")

        class Meta:
            app_label = "tests"
            db_table = table

    alone[:] = [Planned]
    assert found() == []
    assert Visit.objects.count() == 0  # the transaction goes on
