"""Rows that an index lacks which lookups ask."""

import pytest
from django.core.checks import Tags
from django.core.checks.registry import registry
from django.db import connection, models
from django.test.utils import CaptureQueriesContext, isolate_apps

from envelope_fields.checks import indexes as checks
from envelope_fields.checks.indexes import check_unindexed_rows
from envelope_fields.fields import BlindIndexField
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.models import BlindIndex
from tests.models.indexed import MODELS, Person, Visit
from tests.models.tables import tables_of

pytestmark = pytest.mark.django_db

tables = tables_of(MODELS)

INDEX = Person._meta.get_field("email_index")
FOUND = ["envelope_fields.W082"]


@pytest.fixture(autouse=True)
def begun(monkeypatch):
    monkeypatch.setattr(checks, "checked_models", lambda configs: [Person, Visit])
    begin_index(INDEX, "search", "default")


def ids(databases=("default",)):
    return [each.id for each in check_unindexed_rows(databases=databases)]


def written_by_a_build_that_does_not_know_it(email):
    person = Person.objects.create(name="Ada", email=email)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tests_person SET email_index = NULL WHERE id = %s", [person.pk])
    return person


def test_rows_that_are_in_it():
    Person.objects.create(email="ada@example.org")
    Person.objects.create(email=None)
    Person.objects.create(email="")
    assert ids() == []


def test_rows_that_are_not():
    Person.objects.create(email="ben@example.org")
    assert ids() == []
    written_by_a_build_that_does_not_know_it("ada@example.org")
    [message] = check_unindexed_rows(databases=["default"])
    assert (message.id, message.obj) == (*FOUND, INDEX)
    assert "email_index lacks rows in the database 'default' that have a value (1)" in message.msg
    assert f"rebuild_indexes {INDEX.field_path}" in message.hint
    assert "example" not in message.msg + message.hint
    assert ids(databases=None) == []


def test_values_that_were_restored_from_before_it_was_filled():
    """Lookups find nothing in silence, and what the check says has them refused first."""
    written_by_a_build_that_does_not_know_it("ada@example.org")
    assert not Person.objects.filter(email="ada@example.org").exists()
    [message] = check_unindexed_rows(databases=["default"])
    assert "restored from before" in message.hint
    assert "`--to filling` first" in message.hint


def test_no_more_are_looked_at_than_it_says(monkeypatch):
    for name in ("ada", "ben", "cleo"):
        written_by_a_build_that_does_not_know_it(f"{name}@example.org")
    monkeypatch.setattr(checks, "MOST", 2)
    with CaptureQueriesContext(connection) as queries:
        [message] = check_unindexed_rows(databases=["default"])
    assert "that have a value (2)" in message.msg
    assert len([each for each in queries if "tests_person" in each["sql"]]) == 1


@pytest.mark.parametrize("state", ["filling", "verified", "retired"])
def test_one_that_no_lookup_asks(state):
    written_by_a_build_that_does_not_know_it("ada@example.org")
    BlindIndex.objects.update(state=state)
    assert ids() == []


def test_one_whose_normalizer_leaves_values_out(monkeypatch):
    written_by_a_build_that_does_not_know_it("ada@example.org")
    monkeypatch.setattr(INDEX, "normalizer", "digits")
    assert ids() == []


@pytest.mark.django_db(transaction=True)
def test_a_table_that_is_not_there_yet(monkeypatch):
    monkeypatch.setattr(Person._meta, "db_table", "nowhere")
    assert ids() == []


def test_it_is_registered_for_databases():
    assert Tags.database in check_unindexed_rows.tags
    assert check_unindexed_rows in registry.registered_checks


@isolate_apps("tests")
@pytest.mark.parametrize("name", ["nothing", "title"])
def test_an_index_of_what_is_not_encrypted(monkeypatch, name):
    class Misnamed(models.Model):
        title = models.CharField(max_length=9)
        index = BlindIndexField(name)

        class Meta:
            app_label = "tests"

    monkeypatch.setattr(checks, "checked_models", lambda configs: [Misnamed])
    assert [ids(databases=each) for each in (None, ("default",))] == [[], []]  # E080 says so
