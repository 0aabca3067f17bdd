"""NULL in the column in clear beside an envelope: a phase from before that column was emptied."""

import pytest
from django.db import connection

from envelope_fields.models import ColumnConversion
from tests.management import command
from tests.models import moving
from tests.models.moving import OldVisit, Visit
from tests.models.tables import tables_of
from tests.stored import stored

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(moving.apps, "other")


def be(phase):
    ColumnConversion.objects.update_or_create(
        model="moving.Visit", field="report", kind="column", defaults={"phase": phase}
    )


@pytest.fixture(params=["clear", "verified"])
def emptied(request):
    """A row whose column in clear was emptied; then the keys alone were restored."""
    be("only")
    row = Visit.objects.create(report="report")
    Visit.objects.create(report=None)
    be(request.param)
    return Visit.objects.get(pk=row.pk)


def report_of(row):
    be("only")
    return Visit.objects.get(pk=row.pk).report


def test_saving_its_object_takes_nothing_away(emptied):
    assert emptied.report is emptied.report_clear is None
    emptied.ward = "west"
    emptied.save()
    emptied.save(update_fields=["report"])
    assert Visit.objects.get(pk=emptied.pk).ward == "west"
    assert report_of(emptied) == "report"


def test_nor_does_a_form_that_was_left_empty(emptied):
    emptied.report = emptied.report
    emptied.save()
    assert report_of(emptied) == "report"


@pytest.mark.parametrize("load", ["report", "report_clear"])
def test_nor_does_an_object_whose_value_was_loaded_later(emptied, load):
    row = Visit.objects.defer(load).get(pk=emptied.pk)
    assert row.report is None
    if load == "report":
        row.save()
        assert report_of(emptied) == "report"


@pytest.mark.parametrize("load", ["report", "both", "all"])
def test_nor_does_one_that_was_refreshed(emptied, load):
    row = Visit.objects.get(pk=emptied.pk)
    if load == "all":
        row.report = "assigned, and not saved"
        row.refresh_from_db()
    else:
        names = ("report",) if load == "report" else ("report", "report_clear")
        row = Visit.objects.defer(*names).get(pk=emptied.pk)
    assert row.report is row.report_clear is None
    row.save()
    assert report_of(emptied) == "report"


@pytest.mark.skipif(connection.vendor != "sqlite", reason="other columns hold bytes alone")
def test_what_is_not_bytes_is_loaded_and_stays(emptied):
    table = connection.ops.quote_name(Visit._meta.db_table)
    column = Visit._meta.get_field("report").column
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = 'text' WHERE id = %s", [emptied.pk])
    row = Visit.objects.get(pk=emptied.pk)
    assert row.report is None
    row.save()
    assert stored(row, "report") == "text"


def test_what_is_assigned_is_written(emptied):
    emptied.report = "another"
    emptied.save()
    assert Visit.objects.get(pk=emptied.pk).report == "another"
    emptied.report = None
    emptied.save()
    assert Visit.objects.get(pk=emptied.pk).report is stored(emptied, "report") is None


def test_a_copy_has_none(emptied):
    OldVisit.objects.using("other").create(pk=emptied.pk, report="older")
    Visit.objects.get(pk=emptied.pk).save(using="other")
    assert OldVisit.objects.using("other").get().report is None
    row = Visit.objects.create(report=emptied.report)
    emptied.pk, emptied._state.adding = None, True
    emptied.save()
    assert stored(row, "report") is stored(emptied, "report") is None


def test_queries_of_all_kinds(emptied):
    rows = Visit.objects.all()
    assert len({*rows.distinct(), *rows.union(rows), *rows.select_related(None)}) == 2
    table = connection.ops.quote_name(Visit._meta.db_table)
    assert len([row.pk for row in rows.raw(f"SELECT * FROM {table}")]) == 2


def test_a_null_of_an_old_build():
    for report in ("report", "another"):
        OldVisit.objects.create(report=report)
    command("convert_field", "moving.Visit.report", "--to=verified")
    OldVisit.objects.filter(report="report").update(report=None)
    row = Visit.objects.earliest("pk")
    row.save()
    assert row.report is None
    assert command("convert_field", "moving.Visit.report", "--to=encrypted")[1] == ""
    assert Visit.objects.get(pk=row.pk).report is None
