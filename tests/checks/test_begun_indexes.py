"""Indexes as they were begun, against what is declared."""

import pytest

from envelope_fields.checks import begun
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.models import BlindIndex
from tests.models.indexed import MODELS, Visit
from tests.models.tables import tables_of

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]

LABEL = "tests.visit.reason_index"

tables = tables_of(MODELS)


@pytest.fixture(autouse=True)
def index(tables, monkeypatch):
    monkeypatch.setattr(begun, "checked_models", lambda configs: [Visit])
    found = Visit._meta.get_field("reason_index")
    begin_index(found, "search", "default")
    return found


def ids(databases=("default",)):
    return [each.id for each in begun.check_begun_indexes(databases=databases)]


def test_one_that_is_reading():
    assert ids() == []


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"state": "filling"}, "W080"),
        ({"state": "verified"}, "W080"),
        ({"state": "retired"}, "E088"),
        ({"fingerprint": "0" * 32}, "E089"),
        ({"normalizer_version": 2}, "E089"),
        ({"normalizer": "email"}, "E089"),
        ({"name": "shared:names"}, "E089"),
    ],
)
def test_others(columns, expected):
    BlindIndex.objects.filter(label=LABEL).update(**columns)
    assert ids() == [f"envelope_fields.{expected}"]
    assert ids(databases=None) == []


def test_one_that_is_not_begun(index):
    BlindIndex.objects.filter(label=LABEL).update(label="tests.visit.other_index")
    assert ids() == []
