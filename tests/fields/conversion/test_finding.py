"""Filters and ordering: through the column in clear until what is encrypted is read."""

import pickle
from inspect import getsourcelines
from types import ModuleType

import pytest
from django.contrib import admin
from django.core.exceptions import FieldError
from django.db.models import Count, Exists, F, FilteredRelation, OuterRef, Q, Value, Window
from django.db.models.functions import RowNumber
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.views.generic import ListView
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.generics import ListAPIView
from rest_framework.serializers import ModelSerializer
from rest_framework.test import APIRequestFactory

from envelope_fields.fields import Scoped
from envelope_fields.models import ColumnPhase
from tests.models.converting import Contact, Corridor, Latest, LongVisit, Visit, apps, set_phase
from tests.models.tables import tables_of

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(apps)

READS_OLD = [each for each in ColumnPhase if not each.reads_new]
READS_NEW = [each for each in ColumnPhase if each.reads_new]
reads_old = pytest.mark.parametrize("phase", READS_OLD, indirect=True)
reads_new = pytest.mark.parametrize("phase", READS_NEW, indirect=True)

FILTERS = {
    "exact": Q(report="Anna"),
    "iexact": Q(report__iexact="aNNA"),
    "contains": Q(report__contains="nn"),
    "icontains": Q(report__icontains="NN"),
    "startswith": Q(report__startswith="An"),
    "regex": Q(report__regex=r"^A.*a$"),
    "gt": Q(report__gt="Aa"),
    "range": Q(report__range=("Aa", "Az")),
    "in": Q(report__in=["Anna", "Carl"]),
    "in a query": Q(report__in=Corridor.objects.values("name")),
    "expression": Q(report=F("title")),
    "value": Q(report=Value("Anna")),
    "not null": Q(report__isnull=False),
    "not": ~Q(report="Ben") & ~Q(report=None),
    "either": Q(report="Anna") | Q(report="Carl"),
    "joined": Q(corridor__visits__report="Anna"),
    "in clear": Q(report_clear__icontains="NN"),
    "exists": Exists(Visit.objects.filter(report__istartswith="an", pk=OuterRef("pk"))),
}


@pytest.fixture
def rows(phase):
    corridor = Corridor.objects.create(name="Anna")
    anna = LongVisit.objects.create(report="Anna", title="Anna", corridor=corridor)
    Visit.objects.create(report=None, title="none")
    return Visit.objects.get(pk=anna.pk)


@reads_old
@pytest.mark.parametrize("condition", FILTERS.values(), ids=FILTERS)
def test_the_column_in_clear_is_asked(condition, rows, phase):
    assert list(Visit.objects.filter(condition)) == [rows]
    assert list(Visit.objects.exclude(condition).values_list("title", flat=True)) == ["none"]
    assert Visit.objects.filter(condition).count() == 1
    assert Visit.objects.filter(condition).update(title="b") == 1
    assert Visit.objects.filter(report="Anna", title="b").delete()[0] == 2


@reads_new
@pytest.mark.parametrize(
    "condition", [each for name, each in FILTERS.items() if name != "not null"],
    ids=[name for name in FILTERS if name != "not null"],
)  # fmt: skip
def test_what_is_encrypted_is_not_compared(condition, rows, phase):
    for query in (Visit.objects.filter(condition), Visit.objects.exclude(condition)):
        with pytest.raises(FieldError, match="is encrypted"):
            list(query)
        with pytest.raises(FieldError, match="is encrypted"):
            query.count()


@reads_old
def test_ordering(rows, phase):
    Visit.objects.filter(report=None).update(report="Zoe")
    assert [each.report for each in Visit.objects.order_by("report")] == ["Anna", "Zoe"]
    assert [each.report for each in Visit.objects.order_by("-report")] == ["Zoe", "Anna"]
    for order in ("-report_clear", F("report").desc(nulls_last=True)):
        assert [each.report for each in Visit.objects.order_by(order)] == ["Zoe", "Anna"]
    assert Visit.objects.order_by("report").last().report == "Zoe"
    assert Visit.objects.latest("report").report == "Zoe"
    assert [*Visit.objects.order_by("report").values_list("report", flat=True)] == ["Anna", "Zoe"]
    assert Corridor.objects.order_by("visits__report").get()


@reads_new
def test_ordering_is_refused(rows, phase):
    for order in ("report", "-report", "report_clear", F("report").desc(), F("report_clear").asc()):
        with pytest.raises(FieldError, match="is encrypted"):
            list(Visit.objects.order_by(order))
    with pytest.raises(FieldError, match="is encrypted"):
        list(Corridor.objects.order_by("visits__report"))


class VisitView(ListAPIView):
    queryset = Visit.objects.all()
    filter_backends = (OrderingFilter, SearchFilter)
    ordering_fields = "__all__"
    search_fields = ("report",)

    class serializer_class(ModelSerializer):
        class Meta:
            model = Visit
            fields = ("report",)


class VisitList(ListView):
    model = Visit
    ordering = "report"

    def get_template_names(self):
        shown = "{% for visit in object_list %}{{ visit.report }}{% endfor %}"
        return engines["django"].from_string(shown)  # rendered when this view is through


def passing(get_response):
    """The middleware of a project."""

    def middleware(request):
        return get_response(request)

    return middleware


class VisitAdmin(admin.ModelAdmin):
    list_display = ("title", "report")


def test_lists_that_a_user_may_sort(rows, phase):
    """As when the field was plain, for as long as its column is read."""
    Visit.objects.filter(report=None).delete()
    Visit.objects.create(report="Zoe")
    found = {}
    for order in ("report", "-report"):
        request = APIRequestFactory().get("/", {"ordering": order})
        found[order] = [each["report"] for each in VisitView.as_view()(request).data]
    assert (found["report"] == found["-report"]) == phase.reads_new
    sortable = VisitAdmin(Visit, admin.AdminSite()).get_sortable_by(None)
    assert ("report" in sortable) != phase.reads_new


def test_a_query_that_was_built_before_the_switch(rows, phase):
    for before in ColumnPhase:
        set_phase(Visit, "report", before)
        built = Visit.objects.filter(report="Anna"), Visit.objects.order_by("report")
        set_phase(Visit, "report", phase)
        for query in built:
            if phase.reads_new:
                with pytest.raises(FieldError, match="is encrypted"):
                    list(query)
            else:
                assert rows in list(query)


@reads_old
def test_conditions_within_expressions(rows, phase):
    counted = Corridor.objects.annotate(n=Count("visits", filter=Q(visits__report="Anna"))).get()
    assert counted.n == 1
    joined = FilteredRelation("visits", condition=Q(visits__report__icontains="nn"))
    assert Corridor.objects.annotate(found=joined).filter(found__isnull=False).get()


def test_no_error_has_what_is_looked_for(rows):
    set_phase(Visit, "report", "encrypted")
    query = Visit.objects.filter(report__icontains="secret")
    assert "secret" not in repr(query.query.where.children[0])
    with pytest.raises(FieldError) as caught:
        list(query)
    assert "secret" not in str(caught.value)


@reads_old
def test_other_types(phase):
    for name in ("report", "day", "score", "facts"):
        set_phase(Latest, name, phase)
    row = Latest.objects.create(score=5, facts={"a": {"b": [1, "x"]}, "c": None})
    day = row.day
    found = [
        Latest.objects.filter(**{name: value}).get()
        for name, value in {
            "score__gte": 5,
            "score": 5,
            "score__in": [5, 6],
            "day": day,
            "day__year": day.year,
            "day__year__gte": day.year,
            "day__month__in": [day.month],
            "facts__a__b__1": "x",
            "facts__a": {"b": [1, "x"]},
            "facts__has_key": "a",
            "facts__c": None,
            "facts__a__b__0__gte": 1,
        }.items()
    ]
    assert found == [row] * len(found)
    assert not Latest.objects.exclude(score=5).exists()
    for name in ("score", "day", "facts"):
        set_phase(Latest, name, "encrypted")
    for looked_for in ({"score__gte": 5}, {"day__year": 2026}, {"facts__a__b__1": "x"}):
        with pytest.raises(FieldError, match="is encrypted"):
            list(Latest.objects.filter(**looked_for))


class TestPlaces:
    """Each line of code that would be refused is logged once."""

    @reads_old
    def test_with_file_and_line(self, rows, phase, noted):
        for _ in range(3):
            list(Visit.objects.filter(report__icontains="x"))
        list(Visit.objects.filter(report__icontains="x"))
        for _ in range(2):
            list(Visit.objects.order_by("report"))
        lines = noted()
        assert len(lines) == 3
        assert all(__file__ in each for each in lines)
        assert "icontains" in lines[0]
        assert "order_by" in lines[2]
        assert "tests.Visit.report" in lines[0]

    @reads_old
    def test_where_it_was_built(self, rows, phase, noted):
        query = Visit.objects.filter(report="x")
        line = 1 + noted.__code__.co_firstlineno  # noqa: F841
        assert noted() == []
        list(query)
        assert len(noted()) == 1

    @reads_old
    @pytest.mark.parametrize(
        ("view", "declared", "what"),
        [("list", "VisitList", "order_by"), ("api", "VisitView", "icontains")],
    )
    def test_what_a_request_asks_for(
        self, view, declared, what, rows, phase, noted, client, settings
    ):
        """What the project declares, and not its middleware, nor another package."""
        settings.ROOT_URLCONF = ModuleType("tests.fields.conversion.urls")
        settings.ROOT_URLCONF.urlpatterns = [
            path("list", VisitList.as_view()),
            path("api", VisitView.as_view()),
        ]
        settings.MIDDLEWARE = [f"{__name__}.passing"]
        assert "Anna" in client.get(f"/{view}", {"search": "nn"}).text
        [line] = noted()
        assert line.startswith(f"{__file__}:{getsourcelines(globals()[declared])[1]}: ")
        assert what in line

    @reads_old
    def test_a_view_that_is_an_object(self, rows, phase, noted, client, settings):
        class View:
            __hash__ = None

            def __call__(self, request):
                return TemplateResponse(request, VisitList().get_template_names(), ordered)

        ordered = {"object_list": Visit.objects.order_by("report")}
        settings.ROOT_URLCONF = ModuleType("tests.fields.conversion.urls")
        settings.ROOT_URLCONF.urlpatterns = [path("", View())]
        settings.MIDDLEWARE = []
        assert "Anna" in client.get("/").text
        assert noted()[0].startswith("code that Django has called by itself: order_by")

    @reads_old
    def test_not_what_goes_on(self, rows, phase, noted):
        set_phase(Contact, "email", phase)
        list(Visit.objects.filter(report__isnull=True))
        list(Visit.objects.filter(report=None))
        list(Contact.objects.filter(email="a@b.example"))
        list(Visit.objects.all())
        assert noted() == []

    @reads_new
    def test_not_what_is_refused(self, rows, phase, noted):
        with pytest.raises(FieldError):
            list(Visit.objects.filter(report="x"))
        assert noted() == []


class TestIndexes:
    @pytest.fixture
    def contact(self, phase):
        for name in ("email", "number", "record"):
            set_phase(Contact, name, phase)
        return Contact.objects.create(
            email="ann@clinic.example", number="7", record={"mrn": "m1", "other": {"x": 1}},
            corridor=Corridor.objects.create(name="north"),
        )  # fmt: skip

    def test_what_has_an_index_is_found_in_every_phase(self, contact, phase):
        found = [
            Contact.objects.filter(email="ann@clinic.example"),
            Contact.objects.filter(email__in=["ann@clinic.example", "x@y.example"]),
            Contact.objects.filter(email__iexact="ANN@clinic.example"),
            Contact.objects.exclude(email="x@y.example"),
            Contact.objects.filter(~Q(email="x@y.example")),
            Contact.objects.filter(record__mrn="m1"),
            Contact.objects.filter(record__mrn__in=["m1", "m2"]),
            Contact.objects.filter(number=Scoped("7", corridor=contact.corridor)),
            Contact.objects.filter(number__in=[Scoped("7", corridor=contact.corridor)]),
            Corridor.objects.filter(contact__email="ann@clinic.example"),
            Contact.objects.filter(email__in=iter(["ann@clinic.example"])),
            Contact.objects.filter(number__in=iter([Scoped("7", corridor=contact.corridor)])),
        ]
        assert [query.count() for query in found] == [1] * len(found)
        other = Corridor.objects.create(name="south")
        assert not Contact.objects.filter(number=Scoped("7", corridor=other)).exists()
        assert not Contact.objects.filter(email="x@y.example").exists()
        assert not Contact.objects.filter(record__mrn="m2").exists()
        assert Contact.objects.get_or_create(email="ann@clinic.example")[0] == contact

    def test_beside_a_window(self, contact, phase):
        numbered = Contact.objects.annotate(place=Window(RowNumber(), order_by="pk"))
        rows = numbered.filter(Q(place=9) | Q(email="ann@clinic.example"))
        if phase.reads_new:
            assert rows.get() == contact
        else:
            with pytest.raises(FieldError, match=r"under conversion.* window"):
                rows.get()

    def test_what_has_none(self, contact, phase):
        for looked_for in (
            {"email__icontains": "ANN"},
            {"record__other__x": 1},
            {"record__other": {"x": 1}},
        ):
            query = Contact.objects.filter(**looked_for)
            if phase.reads_new:
                with pytest.raises(FieldError, match="is encrypted"):
                    list(query)
            else:
                assert list(query) == [contact]

    def test_a_query_that_was_built_before_a_switch(self, contact, phase):
        for before in ColumnPhase:
            set_phase(Contact, "email", before)
            query = Contact.objects.filter(email="ann@clinic.example")
            list(query)
            set_phase(Contact, "email", phase)
            assert list(query.all()) == [contact]


def test_a_pickled_lookup():
    column = Visit.objects.filter(report__icontains="x").query.where.children[0]
    kind = type(column)
    assert kind.__reduce__(column)[1][1:] == ("icontains", ())
    made, arguments, state = column.__reduce__()
    again = made(*arguments)
    again.__dict__.update(state)
    assert again.rhs == "x"
    assert pickle is not None
