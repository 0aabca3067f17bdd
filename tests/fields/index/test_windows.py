"""Lookups beside windows and aggregates, for which Django makes a query inside another one."""

import pytest
from django.db.models import Case, Count, Exists, F, OuterRef, Q, Sum, When, Window
from django.db.models.functions import RowNumber

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.fields.index.sources import SourcesMixin
from tests.models.indexed import Person, Visit

A, B = "Ada@example.org", "ben@example.org"


@pytest.fixture(autouse=True)
def people():
    for name, email in (("ada", A), ("ben", B), ("cy", None)):
        person = Person.objects.create(name=name, email=email)
        Visit.objects.create(person=person, contact="ada@EXAMPLE.org", reason=name)


def numbered(model=Person):
    return model.objects.annotate(place=Window(RowNumber(), order_by="pk"))


def names(rows):
    return sorted(rows.values_list("name", flat=True))


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (Q(email=A), ["ada", "ben"]), (Q(email__in=[A, "x@x.org"]), ["ada", "ben"]),
        (Q(email__iexact=A), ["ada", "ben"]), (~Q(email=A), ["ben", "cy"]),
        (Q(email=None), ["ben", "cy"]), (Q(visits__contact=F("email")), ["ada", "ben"]),
        (Q(email__in=[]), ["ben"]),
        (Q(Exists(Visit.objects.filter(contact=OuterRef("email")))), ["ada", "ben"]),
    ],
)  # fmt: skip
def test_a_window(condition, found):
    rows = numbered().filter(Q(place=2) | condition)
    assert names(rows) == found
    assert sorted(each.name for each in rows) == found
    assert rows.count() == len(found)


def test_what_is_excluded_beside_a_window():
    assert names(numbered().exclude(Q(place=2) | Q(email=A))) == ["cy"]
    assert names(numbered().filter(place=1, email=A)) == ["ada"]


def test_aggregates_of_aggregates_and_of_slices():
    counted = Person.objects.annotate(n=Count("visits"))
    is_ada = Count("pk", filter=Q(email=A))
    assert counted.aggregate(found=is_ada) == {"found": 1}
    assert Person.objects.order_by("pk")[:2].aggregate(found=is_ada) == {"found": 1}
    assert Person.objects.distinct().aggregate(found=is_ada) == {"found": 1}
    of_ada = Sum(Case(When(email__in=[A], then=F("n")), default=0))
    assert counted.aggregate(found=of_ada) == {"found": 1}
    same = Count("pk", filter=Q(contact=F("person__email")))
    assert Visit.objects.order_by("pk")[:3].aggregate(found=same) == {"found": 1}


def test_columns_of_different_generations_are_not_compared(monkeypatch):
    rows = numbered(Visit).filter(Q(place=9) | Q(contact=F("person__email")))
    assert [visit.reason for visit in rows.all()] == ["ada"]
    monkeypatch.setattr(SourcesMixin, "read_beside", lambda self, other, using: (self, self))
    with pytest.raises(IndexNotReady, match="beside a window"):
        str(rows.query)
