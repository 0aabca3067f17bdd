"""Every way to read, in every phase: the value is that of the column which the phase says."""

import re

import pytest
from django.core.exceptions import FieldError
from django.db.models import Count, F, Max, OuterRef, Q, Subquery, Value
from django.db.models.functions import Concat, Upper

from envelope_fields.fields import open_values
from envelope_fields.models import ColumnPhase
from tests.models.converting import Corridor, LateVisit, LongVisit, Visit, apps, set_phase
from tests.models.tables import tables_of
from tests.stored import store

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(apps, "other")

QUERIES = {
    "get": lambda: Visit.objects.get().report,
    "in clear": lambda: Visit.objects.get().report_clear,
    "only": lambda: Visit.objects.only("report").get().report,
    "only in clear": lambda: Visit.objects.only("report_clear").get().report_clear,
    "only another": lambda: Visit.objects.only("title").get().report,
    "defer": lambda: Visit.objects.defer("report").get().report,
    "defer in clear": lambda: Visit.objects.defer("report_clear").get().report_clear,
    "values": lambda: Visit.objects.values("report").get()["report"],
    "values in clear": lambda: Visit.objects.values("report_clear").get()["report_clear"],
    "all values": lambda: Visit.objects.values().get()["report"],
    "all values in clear": lambda: Visit.objects.values().get()["report_clear"],
    "values_list": lambda: Visit.objects.values_list("report", flat=True).get(),
    "named": lambda: Visit.objects.values_list("id", "report", named=True).get().report,
    "annotate": lambda: Visit.objects.annotate(text=F("report")).get().text,
    "annotate in clear": lambda: Visit.objects.annotate(text=F("report_clear")).get().text,
    "subquery": lambda: (
        Corridor.objects.annotate(text=Subquery(Visit.objects.values("report"))).get().text
    ),
    "subquery in clear": lambda: (
        Corridor.objects.annotate(text=Subquery(Visit.objects.values("report_clear"))).get().text
    ),
    "outer": lambda: (
        Corridor.objects.annotate(
            text=Subquery(Visit.objects.filter(corridor=OuterRef("pk")).values("report")[:1])
        )
        .values_list("text", flat=True)
        .get()
    ),
    "through a relation": lambda: Corridor.objects.values_list("visits__report", flat=True).get(),
    "related": lambda: Corridor.objects.get().visits.get().report,
    "prefetched": lambda: Corridor.objects.prefetch_related("visits").get().visits.all()[0].report,
    "iterator": lambda: next(Visit.objects.iterator()).report,
    "in_bulk": lambda: next(iter(Visit.objects.in_bulk().values())).report,
    "first": lambda: Visit.objects.first().report,
    "proxy": lambda: LateVisit.objects.get().report,
    "child": lambda: LongVisit.objects.get().report,
    "only of a child": lambda: LongVisit.objects.only("nights").get().report,
    "values of a child": lambda: LongVisit.objects.values_list("report", flat=True).get(),
    "related with": lambda: LongVisit.objects.select_related("visit_ptr").get().visit_ptr.report,
    "union": lambda: (
        Visit.objects.values_list("report", flat=True)
        .union(LateVisit.objects.values_list("report", flat=True))
        .get()
    ),
    "union of objects": lambda: Visit.objects.union(Visit.objects.all()).get().report,
    "combined": lambda: (Visit.objects.filter(pk=0) | Visit.objects.filter(pk__gt=0)).get().report,
    "distinct": lambda: Visit.objects.distinct().get().report,
    "counted": lambda: Visit.objects.annotate(Count("corridor")).get().report,
    "opened": lambda: Visit.encrypted.opened().get().report,
    "opened field": lambda: Visit.encrypted.opened("report").get().report,
    "raw": lambda: Visit.objects.raw("SELECT * FROM tests_visit")[0].report,
    "raw in clear": lambda: Visit.objects.raw("SELECT * FROM tests_visit")[0].report_clear,
    "raw old column": lambda: Visit.objects.raw("SELECT id, report FROM tests_visit")[0].report,
    "raw new column": lambda: (
        Visit.objects.raw("SELECT id, report_encrypted FROM tests_visit")[0].report
    ),
    "raw key": lambda: Visit.objects.raw("SELECT id FROM tests_visit")[0].report,
}


@pytest.fixture
def visit(phase):
    corridor = Corridor.objects.create(name="north")
    return LongVisit.objects.create(report="a text", mirror="a text", corridor=corridor)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_the_value_is_what_was_written(query, visit, phase):
    assert query() == "a text"


def test_a_refreshed_object(visit, phase):
    Visit.objects.update(report="another")
    visit.refresh_from_db()
    assert visit.report == visit.report_clear == "another"
    Visit.objects.update(report="third")
    visit.refresh_from_db(fields=["report"])
    assert visit.report == "third"
    Visit.objects.update(report="fourth")
    visit.refresh_from_db(fields=["report_clear"])
    visit.refresh_from_db()
    assert visit.report == "fourth"


def test_the_column_is_that_of_the_phase(phase):
    """The two have other values, as an old build would leave them."""
    set_phase(Visit, "report", "both")
    visit = Visit.objects.create(report="new")
    store(visit, "report_clear", "old")
    set_phase(Visit, "report", phase)
    expected = "new" if phase.reads_new else "old"
    for name in ("report", "report_clear"):
        assert getattr(Visit.objects.get(), name) == expected
        assert Visit.objects.values_list(name, flat=True).get() == expected
        assert [row[0] for row in Visit.objects.values_list(name).iterator()] == [expected]
        subquery = Subquery(Visit.objects.values(name))
        assert Visit.objects.annotate(text=subquery).get().text == expected
    for columns in ("*", "id, report, report_encrypted", "id, report_encrypted, report", "id"):
        row = Visit.objects.raw(f"SELECT {columns} FROM tests_visit")[0]
        assert row.report == row.report_clear == expected


def test_null_in_the_column_of_the_phase(phase):
    set_phase(Visit, "report", "both")
    visit = Visit.objects.create(report="new")
    store(visit, "report" if phase.reads_new else "report_clear", None)
    set_phase(Visit, "report", phase)
    assert Visit.objects.get().report is None
    assert Visit.objects.filter(report=None).exists()
    assert Visit.objects.filter(report__isnull=True).exists()
    assert not Visit.objects.exclude(report=None).exists()
    assert Visit.objects.aggregate(number=Count("report"))["number"] == 0
    assert Visit.objects.filter(report_clear__isnull=True).exists()


def queries():
    yield Visit.objects.all()
    yield Visit.objects.only("report")
    yield Visit.objects.filter(report__isnull=False)
    yield Visit.objects.annotate(x=Value(1))
    yield Visit.objects.raw("SELECT * FROM tests_visit")
    yield LateVisit.objects.select_related("corridor")


def test_a_query_that_was_built_before_a_switch(phase):
    set_phase(Visit, "report", "both")
    visit = Visit.objects.create(report="new")
    store(visit, "report_clear", "old")
    for before in ColumnPhase:
        set_phase(Visit, "report", before)
        built = [*queries()]
        evaluated = [*queries()]
        for each in evaluated:
            list(each)
        values = Visit.objects.values_list("report", flat=True)
        list(values)
        set_phase(Visit, "report", phase)
        expected = "new" if phase.reads_new else "old"
        for query in (*built, *(each.all() for each in evaluated if hasattr(each, "all"))):
            assert [each.report for each in query] == [expected]
        assert list(values.all()) == [expected]


def test_objects_hold_one_value(visit, phase):
    loaded = Visit.objects.get()
    assert loaded.get_deferred_fields() == set()
    loaded.report_clear = "another"
    assert loaded.report == "another"
    loaded.report = "third"
    assert loaded.report_clear == "third"
    assert "third" not in repr(vars(loaded)["report_clear"])


def test_loading_reads_one_column(visit, phase, django_assert_num_queries):
    set_phase(Visit, "report", phase)
    query = Visit.objects.only("report", "report_clear").query
    sql = re.sub("CASE WHEN .*? END", "", str(query))  # an envelope beside NULL
    assert ("report_encrypted" in sql) is phase.reads_new
    assert ('"report"' in sql or "`report`" in sql) is not phase.reads_new


@pytest.mark.parametrize(
    "query",
    [
        lambda name: Visit.objects.annotate(x=Upper(name)),
        lambda name: Visit.objects.annotate(x=Concat(name, Value("x"))),
        lambda name: Visit.objects.aggregate(x=Max(name)),
        lambda name: Visit.objects.annotate(x=Max(name)),
        lambda name: Visit.objects.filter(title=F(name)),
        lambda name: Visit.objects.filter(title__in=Visit.objects.values(name)),
        lambda name: Visit.objects.order_by(Upper(name)),
        lambda name: Visit.objects.distinct(name),
        lambda name: Visit.objects.annotate(x=Q(**{f"{name}__length": 1})),
    ],
    ids=["upper", "concat", "aggregate", "max", "other", "subquery", "order", "distinct", "lookup"],
)
def test_expressions_are_refused_from_the_start(query, visit, phase):
    for name in ("report", "report_clear"):
        with pytest.raises(FieldError, match=r"tests\.Visit\.report( |:)"):
            list(query(name))


def test_values_are_opened_at_once(visit, phase):
    loaded = Visit.objects.get()
    open_values([loaded])
    assert vars(loaded)["report"] == "a text"
