"""Indexes as they were begun, against what is declared."""

from datetime import timedelta

import pytest
from django.utils import timezone

from envelope_fields.checks import begun
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.models import BlindIndex
from tests.models.builds import BOTH, FIRST, LABEL as FIRST_LABEL, LABEL_2 as SECOND_LABEL, SECOND
from tests.models.indexed import MODELS, Visit
from tests.models.tables import tables_of

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]

LABEL = "tests.visit.reason_index"

tables = tables_of([*MODELS, BOTH])


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
        ({"sources": [{"labels": ["tests.visit.note"], "path": "", "type": ""}]}, "E089"),
    ],
)
def test_others(columns, expected):
    BlindIndex.objects.filter(label=LABEL).update(**columns)
    assert ids() == [f"envelope_fields.{expected}"]
    assert ids(databases=None) == []


def test_one_that_is_not_begun(index):
    BlindIndex.objects.filter(label=LABEL).update(label="tests.visit.other_index")
    assert ids() == []


class TestWhileOneReplacesAnother:
    """By the build that there is, and how far each index is."""

    @pytest.fixture(autouse=True)
    def rows(self, db):
        FIRST.objects.create(email="ada@example.org")
        BOTH.objects.create(email="ben@example.org")

    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            ("reading", "filling", {FIRST: [], BOTH: ["W080"], SECOND: ["E079", "W080"]}),
            ("reading", "verified", {FIRST: ["E079"], BOTH: ["W080"], SECOND: ["E079", "W080"]}),
            ("reading", "reading", {FIRST: ["E079"], BOTH: [], SECOND: ["E079"]}),
            ("retired", "reading", {FIRST: ["E079", "E088"], BOTH: ["W089"], SECOND: []}),
        ],
    )
    def test_each_step(self, first, second, expected, monkeypatch):
        required_at = None if second == "filling" else timezone.now()
        long_ago = timezone.now() - timedelta(days=1)
        BlindIndex.objects.filter(label=FIRST_LABEL).update(state=first, state_changed_at=long_ago)
        BlindIndex.objects.filter(label=SECOND_LABEL).update(state=second, required_at=required_at)
        for build, found in expected.items():
            monkeypatch.setattr(begun, "checked_models", lambda configs, build=build: [build])
            assert ids() == [f"envelope_fields.{each}" for each in found]

    def test_what_lookups_do_meanwhile(self, monkeypatch):
        monkeypatch.setattr(begun, "checked_models", lambda configs: [BOTH])
        [warning] = begun.check_begun_indexes(databases=["default"])
        assert warning.msg.endswith("every process writes it, and lookups ask email_index.")
