"""What a database cannot do with fields of any type is refused before it is asked."""

import pytest
from django.core.exceptions import FieldError
from django.db import connection, models
from django.db.models import F, Q, Value, functions
from django.test.utils import CaptureQueriesContext

from tests.fields.family import FAMILY

pytestmark = pytest.mark.django_db(transaction=True)

COMPARISONS = ("exact", "in", "range", "gt", "gte", "lt", "lte", "contains", "regex")
PARTS = ("year", "iso_year", "month", "week_day", "date", "time", "hour", "second")
AGGREGATES = (models.Sum, models.Avg, models.Max, models.Min, models.StdDev, models.Variance)
CUT = [getattr(functions, f"Trunc{each}") for each in ("Year", "Week", "Hour", "Date", "Time")]
TAKEN = [getattr(functions, f"Extract{each}") for each in ("Year", "WeekDay", "Month", "Hour")]


def queries(manager, value):
    """Yield what computes on the values, or compares them: a name, and what does it."""
    for lookup in (*COMPARISONS, *PARTS, "year__gt", "date__range", "month__in", "year__isnull"):
        given = (value, value) if lookup.endswith(("in", "range")) else value
        yield (
            f"filter({lookup})",
            lambda each=lookup, g=given: list(manager.filter(**{f"value__{each}": g})),
        )
        yield (
            f"exclude({lookup})",
            lambda each=lookup, g=given: list(manager.exclude(**{f"value__{each}": g})),
        )
    for part in PARTS:
        path = f"value__{part}"
        yield f"order_by({path})", lambda p=path: list(manager.order_by(p))
        yield f"only().order_by({path})", lambda p=path: list(manager.only("pk").order_by(p))
        yield f"values({path})", lambda p=path: list(manager.values(p))
        yield f"values_list({path})", lambda p=path: list(manager.values_list("pk", p))
        yield f"annotate(F({path}))", lambda p=path: list(manager.annotate(x=F(p)))
    for function in (*CUT, *TAKEN):
        name = function.__name__
        yield f"annotate({name})", lambda f=function: list(manager.annotate(x=f("value")))
        yield f"values({name})", lambda f=function: list(manager.values(x=f(F("value"))))
        yield f"alias({name})", lambda f=function: list(manager.alias(x=f("value")).filter(x=1))
        yield f"order_by({name})", lambda f=function: list(manager.order_by(f("value")))
    for function in AGGREGATES:
        name = function.__name__
        yield f"aggregate({name})", lambda f=function: manager.aggregate(x=f("value"))
        yield (
            f"aggregate({name} of a type)",
            lambda f=function: manager.aggregate(x=f("value", output_field=models.FloatField())),
        )
        yield (
            f"annotate({name})",
            lambda f=function: list(manager.values("pk").annotate(x=f("value"))),
        )
    yield from {
        "dates()": lambda: list(manager.dates("value", "year")),
        "datetimes()": lambda: list(manager.datetimes("value", "hour")),
        "latest()": lambda: manager.latest("value"),
        "earliest()": lambda: manager.earliest("value"),
        "get()": lambda: manager.get(value=value),
        "get_or_create()": lambda: manager.get_or_create(value=value),
        "update_or_create()": lambda: manager.update_or_create(value=value),
        "order_by()": lambda: list(manager.order_by("-value")),
        "a comparison with a column": lambda: list(manager.filter(twin__gt=F("value"))),
        "an annotation that is filtered": lambda: list(
            manager.annotate(x=F("value")).filter(x__year=1)
        ),
        "or": lambda: list(manager.filter(Q(value=value) | Q(pk=1))),
        "a sum": lambda: list(manager.annotate(x=F("value") + 1)),
        "a difference": lambda: list(manager.annotate(x=functions.Now() - F("value"))),
        "Coalesce": lambda: list(manager.annotate(x=functions.Coalesce("value", Value(value)))),
        "Greatest": lambda: list(manager.annotate(x=functions.Greatest("value", "twin"))),
        "Cast": lambda: list(manager.annotate(x=functions.Cast("value", models.TextField()))),
        "Round": lambda: list(manager.annotate(x=functions.Round("value"))),
        "a window": lambda: list(manager.annotate(x=models.Window(models.Sum("value")))),
        "Count of different ones": lambda: manager.aggregate(
            x=models.Count("value", distinct=True)
        ),
        "a filtered aggregate": lambda: manager.aggregate(
            x=models.Count("pk", filter=Q(value=value))
        ),
        "update() with itself": lambda: manager.update(value=F("value") + 1),
        "update() with another": lambda: manager.update(value=F("twin")),
        "update() of another": lambda: manager.update(twin=F("value")),
    }.items()


@pytest.mark.parametrize("name", FAMILY)
def test_what_computes_or_compares_is_refused(model, name):
    thing = model(name, null=True)
    value = FAMILY[name][1][-1]
    thing.objects.create(value=value, twin=value)
    for called, query in queries(thing.objects, value):
        with (
            pytest.raises(FieldError, match=r"^tests\.Thing\.value is encrypted: .+ i") as caught,
            CaptureQueriesContext(connection) as made,
        ):
            query()
            pytest.fail(called)
        assert not [each for each in made.captured_queries if "tests_thing" in each["sql"]], called
        assert caught.value.__cause__ is None, called
    assert thing.objects.filter(value__isnull=False, pk__in=thing.objects.values("pk")).count() == 1


@pytest.mark.parametrize("name", FAMILY)
def test_rows_are_not_found_by_their_values(model, name):
    """As of no field that is not unique."""
    thing = model(name, null=True)
    with (
        pytest.raises(ValueError, match="must be a unique field"),
        CaptureQueriesContext(connection) as made,
    ):
        thing.objects.in_bulk([FAMILY[name][1][-1]], field_name="value")
    assert not made.captured_queries


@pytest.mark.parametrize("name", ["Date", "DateTime"])
def test_neighbours_in_time_are_refused(model, name):
    value = FAMILY[name][1][-1]
    thing = model(name).objects.create(value=value, twin=value)
    for neighbour in (thing.get_next_by_value, thing.get_previous_by_value):
        with pytest.raises(FieldError, match=r"tests\.Thing\.value"):
            neighbour()


def test_functions_of_plain_dates_are_those_of_django(model):
    thing = model("Date", null=True)
    thing.objects.create(twin=FAMILY["Date"][1][-1])
    assert thing.objects.values_list(functions.ExtractYear("twin"), "twin__month").get() == (
        9999,
        12,
    )
    assert [each.year for each in thing.objects.dates("twin", "year")] == [9999]
    with pytest.raises(TypeError, match="'id' isn't a DateField"):
        thing.objects.dates("id", "year")
