"""Queries in which one column is loaded, annotated and combined at once."""

import pickle

import pytest
from django.db import connection, models, transaction
from django.db.models import F, Prefetch, prefetch_related_objects
from django.test.utils import isolate_apps

from envelope_fields.fields import EncryptedQuerySet
from envelope_fields.fields.sealed import SealedValue
from tests.models import Child, CompositeKeyed, Note, Restaurant

pytestmark = pytest.mark.django_db


def sealed(instance, name="text"):
    return type(instance.__dict__[name]) is SealedValue


@pytest.fixture(autouse=True)
def notes():
    return Note.objects.create(title="1", text="one"), Note.objects.create(title="2", text="two")


def test_combined_queries():
    every, first = Note.objects.all(), Note.objects.filter(title="1")
    for combined in (every.union(Note.objects.none()), first.union(Note.objects.filter(title="2"))):
        found = list(combined)
        assert all(map(sealed, found))
        assert {each.text for each in found} == {"one", "two"}
    assert [each.text for each in every.intersection(first)] == ["one"]
    assert [each.text for each in every.difference(first)] == ["two"]
    assert set(every.union(first).values_list("text", flat=True)) == {"one", "two"}
    pairs = every.values_list("text", "pk")
    assert set(pairs.union(pairs).values_list("text", flat=True)) == {"one", "two"}
    annotated = every.annotate(other=F("text"))
    assert {(e.text, e.other) for e in annotated.union(annotated)} == {
        ("one", "one"),
        ("two", "two"),
    }


def test_annotations_beside_the_column(notes):
    found = Note.objects.annotate(other=F("text"), again=F("other")).order_by("pk")[0]
    assert sealed(found)
    assert (found.other, found.again) == ("one", "one")
    found = Note.objects.alias(other=F("text")).annotate(again=F("other")).order_by("pk")[0]
    assert sealed(found)
    assert found.again == "one"
    ordered = Note.objects.annotate(other=F("text")).order_by("pk")
    assert ordered.values("other", "text")[0] == {"other": "one", "text": "one"}
    assert ordered.values_list("other", "text")[0] == ("one", "one")
    assert (
        Note.objects.values("title").annotate(other=F("text")).order_by("pk")[0]["other"] == "one"
    )
    Child.objects.create(note=notes[0], text="child")
    related = Child.objects.annotate(of_note=F("note__text"), own=F("text"))
    found = related.select_related("note").get()
    assert (found.of_note, found.own) == ("one", "child")
    assert sealed(found)
    assert sealed(found.note)


def test_pickled_queries():
    ordered = Note.objects.annotate(other=F("text")).order_by("pk")
    assert pickle.loads(pickle.dumps(ordered))[1].text == "two"
    loaded = Note.objects.all()
    loaded.query = pickle.loads(pickle.dumps(ordered.query))
    assert sealed(loaded[0])
    assert loaded[0].other == "one"


def test_opened_is_for_the_fields_of_the_model(notes):
    Child.objects.create(note=notes[0], text="child")
    found = EncryptedQuerySet(Child).select_related("note").opened("text").get()
    assert not sealed(found)
    assert sealed(found.note)
    opened = EncryptedQuerySet(Note).opened("text").order_by("pk")
    assert list(opened.values_list("text", flat=True)) == ["one", "two"]


def test_what_is_loaded_by_other_ways(notes):
    Child.objects.create(note=notes[0], text="child")
    found = list(Note.objects.order_by("pk"))
    prefetch_related_objects(found, Prefetch("children", Child.objects.only("text", "note")))
    assert sealed(found[0].children.all()[0])
    of = ("self",) if connection.features.has_select_for_update_of else ()
    with transaction.atomic():
        assert sealed(Note.objects.select_for_update(of=of).first())
    assert Note.objects.all()[:1].count() == 1
    assert Note.objects.distinct().count() == 2


def test_refreshing_from_a_queryset():
    for queryset in (EncryptedQuerySet(Note).opened(), Note.objects.only("title")):
        found = Note.objects.order_by("pk")[0]
        found.refresh_from_db(from_queryset=queryset)
        assert found.text == "one"


@isolate_apps("tests")
def test_from_db_and_init_of_a_model():
    class Upper(Note):
        class Meta:
            app_label = "tests"
            proxy = True

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.before = self.__dict__.get("text")

        @classmethod
        def from_db(cls, db, field_names, values, **options):
            instance = super().from_db(db, field_names, values, **options)
            instance.title = instance.title.upper()
            return instance

    found = Upper.objects.order_by("pk")[0]
    assert sealed(found)
    assert found.before == "one"


@pytest.mark.skipif("not hasattr(models, 'FETCH_PEERS')", reason="fetch modes came with 6.1")
def test_peers(notes):
    first, second = Note.objects.fetch_mode(models.FETCH_PEERS).defer("text").order_by("pk")
    notes[0].delete()
    with pytest.raises(Note.DoesNotExist):
        _ = first.text
    assert second.text == "two"
    for text in ("one", "two"):
        Restaurant.objects.create(secret=text, menu=[text])
        CompositeKeyed.objects.create(ward=1, bed=len(text) + ord(text[0]), text=text)
    peers = Restaurant.objects.fetch_mode(models.FETCH_PEERS).defer("secret", "menu")
    assert [(each.secret, each.menu) for each in peers.order_by("pk")] == [
        ("one", ["one"]),
        ("two", ["two"]),
    ]
    composite = CompositeKeyed.objects.fetch_mode(models.FETCH_PEERS).defer("text")
    assert [each.text for each in composite.order_by("bed")] == ["one", "two"]
