"""Shapes of models, rows and code around a field under conversion."""

import copy

import pytest
from django.db import models, transaction
from django.db.models import Count

from envelope_fields.models import ColumnPhase
from tests.models.converting import Latest, LongVisit, Visit, apps, set_phase
from tests.models.tables import tables_of
from tests.stored import stored

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(apps)


@pytest.fixture
def copies():
    """A model that a history makes of copies of fields."""
    made = []

    def make(*names):
        body = {name: copy.copy(Visit._meta.get_field(name)) for name in names}
        meta = type("Meta", (), {"apps": apps, "app_label": "tests"})
        made.append(
            type("History", (models.Model,), {"__module__": __name__, "Meta": meta, **body})
        )
        return made[-1]

    yield make
    del apps.all_models["tests"]["history"]
    apps.clear_cache()


def test_a_copy_of_both_fields_is_under_conversion_itself(copies):
    history = copies("report", "report_clear")
    field, plain = history._meta.get_field("report"), history._meta.get_field("report_clear")
    assert field.plain_field is plain
    assert plain.values is field
    assert Visit._meta.get_field("report_clear").values is Visit._meta.get_field("report")
    assert history(report="x").report_clear == "x"
    assert history(report="x", report_clear="x").report == "x"


def test_a_copy_of_the_one_in_clear_is_a_field_as_any_other(copies):
    history = copies("report_clear")
    assert type(history._meta.get_field("report_clear")) is models.TextField
    assert history(report_clear="x").report_clear == "x"
    assert history._meta.get_field("report_clear").editable


def test_an_update_of_a_child(phase):
    row = LongVisit.objects.create(report="before")
    LongVisit.objects.update(report="after", nights=2)
    assert LongVisit.objects.get().report == Visit.objects.get().report == "after"
    visit = Visit.objects.get(pk=row.pk)
    assert (stored(visit, "report_clear") == "after") is phase.writes_old
    LongVisit.objects.bulk_update([row], ["report"])
    assert Visit.objects.get().report == "before"
    assert (stored(visit, "report_clear") == "before") is phase.writes_old


def test_from_db_is_overridden(phase, monkeypatch):
    seen = []

    def from_db(cls, db, names, values, **options):  # of Django 6.1
        seen.append(dict(zip(names, values, strict=True)))
        return original(cls, db, names, values, **options)

    original = Visit.from_db.__func__
    monkeypatch.setattr(Visit, "from_db", classmethod(from_db))
    Visit.objects.create(report="x")
    assert Visit.objects.get().report == "x"
    assert list(seen[0]) == [field.attname for field in Visit._meta.concrete_fields]


def test_groups(phase):
    for _ in range(2):
        Visit.objects.create(report="x", title="t")
    found = Visit.objects.annotate(number=Count("corridor"))
    assert [each.report for each in found] == ["x", "x"]
    if not phase.reads_new:
        grouped = Visit.objects.values("report").annotate(number=Count("id")).order_by("report")
        assert list(grouped) == [{"report": "x", "number": 2}]


def test_what_a_plain_field_cannot_store_is_not_shown():
    for phase in ColumnPhase:
        set_phase(Latest, "score", phase)
        for write in (
            lambda: Latest.objects.update(score="secret"),
            lambda: Latest.objects.create(score="secret"),
        ):
            with pytest.raises((TypeError, ValueError)) as caught, transaction.atomic():
                write()
            assert "secret" not in str(caught.value)
            assert caught.value.__cause__ is None
            assert "Latest.score" in str(caught.value)


@pytest.mark.skipif(not hasattr(models, "FETCH_PEERS"), reason="Django 6.1 has fetch modes")
def test_fetch_modes(phase, django_assert_num_queries):
    for text in ("a", "b"):
        Visit.objects.create(report=text)
    rows = list(Visit.objects.defer("report").order_by("pk").fetch_mode(models.FETCH_PEERS))
    assert rows[0].report_clear == "a"
    with django_assert_num_queries(0):
        assert "report" in vars(rows[1])
    assert rows[1].report == "b"
    row = Visit.objects.only("report").fetch_mode(models.FETCH_RAISE).first()
    assert row.report_clear == "a"
