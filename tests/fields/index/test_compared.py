"""Comparisons in the database, while indexes are filled and replaced; and models of any order."""

from functools import cached_property

import pytest
from django.apps.registry import Apps
from django.db import models
from django.db.models import Exists, F, OuterRef, Subquery

from envelope_fields.exceptions import IndexNotReady, MasterKeyUnusable
from envelope_fields.fields import BlindIndexField, EncryptedJSONField, EncryptedTextField
from envelope_fields.fields.index import macs
from envelope_fields.lifecycle import create_master_key, disable
from envelope_fields.lifecycle.index_states import change_index_state
from envelope_fields.models import MasterKey
from envelope_fields.tenants import TenantKey
from tests.models.indexed import Person, Visit

A = "ada@example.org"

COMPARED = {
    "f": lambda: Person.objects.filter(email=F("visits__contact")),
    "exclude": lambda: Person.objects.exclude(visits__contact=F("email")),
    "in": lambda: Person.objects.filter(email__in=Visit.objects.values("contact")),
    "not in": lambda: Person.objects.exclude(email__in=Visit.objects.values("contact")),
    "exists": lambda: Person.objects.filter(
        Exists(Visit.objects.filter(contact=OuterRef("email")))
    ),
    "subquery": lambda: Person.objects.filter(email=Subquery(Visit.objects.values("contact")[:1])),
}  # fmt: skip


@pytest.fixture(autouse=True)
def ada():
    ada = Person.objects.create(name="ada", email=A)
    Visit.objects.create(person=ada, contact=A)
    return ada


@pytest.mark.parametrize("index", ["tests.person.email_index", "tests.visit.contact_index"])
@pytest.mark.parametrize("compared", COMPARED.values(), ids=COMPARED)
def test_columns_are_not_compared_by_half_an_index(compared, index):
    rows = compared()
    change_index_state(index, "filling")
    with pytest.raises(IndexNotReady, match=index):
        list(rows)


@pytest.mark.parametrize("compared", COMPARED.values(), ids=COMPARED)
def test_nor_under_a_key_that_is_disabled(compared):
    disable(MasterKey.objects.get(alias="search"))
    with pytest.raises(MasterKeyUnusable):
        list(compared())


class TestReplaced:
    """Both sides are asked by the same generation, whichever of them is ahead."""

    @pytest.fixture
    def indexes(self, monkeypatch):
        class Replaced(models.Model):
            email = EncryptedTextField()
            email_index = BlindIndexField("email", shared="old")
            email_new = BlindIndexField("email", shared="new", replaces="email_index")
            other = EncryptedTextField()
            other_index = BlindIndexField("other", shared="old")
            other_new = BlindIndexField("other", shared="new", replaces="other_index")

            class Meta:
                apps = Apps(["tests"])
                app_label = "tests"

        self.ready = {"email_index", "other_index"}

        def require_reading(index, using):
            if index.name not in self.ready:
                raise IndexNotReady(index.name)

        monkeypatch.setattr(macs, "require_reading", require_reading)
        return [Replaced._meta.get_field(name) for name in ("email_new", "other_new")]

    @pytest.mark.parametrize(
        ("reading", "compared"),
        [
            (["email_index", "other_index"], ["email_index", "other_index"]),
            (["email_index", "other_index", "email_new"], ["email_index", "other_index"]),
            (["email_index", "other_index", "other_new"], ["email_index", "other_index"]),
            (["email_index", "other_new", "email_new"], ["email_new", "other_new"]),
        ],
    )
    def test_pairs(self, indexes, reading, compared):
        self.ready = reading
        mine, other = indexes
        assert [each.name for each in mine.read_beside(other, "default")] == compared

    def test_none(self, indexes):
        self.ready = ["email_new", "other_index"]
        with pytest.raises(IndexNotReady):
            indexes[0].read_beside(indexes[1], "default")


def test_an_index_that_is_declared_before_its_field():
    class Early(models.Model):
        value_index = BlindIndexField("value")
        value = EncryptedTextField()

        class Meta:
            apps = Apps(["tests"])
            app_label = "tests"

    field, index = (Early._meta.get_field(name) for name in ("value", "value_index"))
    assert field.indexes == (index,)


def declared(**options):
    class Declared(models.Model):
        tenant = models.IntegerField()
        data = EncryptedJSONField(bind_to=("tenant",))
        data_index = BlindIndexField(options.pop("path", "data__mrn"), **options)

        class Meta:
            apps = Apps(["tests"])
            app_label = "tests"

    return Declared._meta.get_field("data_index")


def test_the_fingerprint_is_of_all_that_values_depend_on():
    keys = [TenantKey("a/{tenant}"), TenantKey("b/{tenant}")]
    indexes = [
        declared(), declared(path="data__id"), declared(scope=("tenant",)),
        declared(normalizer="casefold"), *(declared(scope=("tenant",), key=key) for key in keys),
    ]  # fmt: skip
    assert len({index.fingerprint for index in indexes}) == len(indexes)
    assert declared().fingerprint == indexes[0].fingerprint


class TestAnotherKey:
    """An index whose declaration names another key does not go on with it."""

    @pytest.fixture(autouse=True)
    def other(self, monkeypatch):
        create_master_key("other", usage="generate_verify_mac")
        index = Person._meta.get_field("email_index")
        monkeypatch.setattr(index, "key", "other")

    def test_lookups(self):
        with pytest.raises(IndexNotReady, match="another search key"):
            Person.objects.filter(email=A).exists()

    def test_writing(self):
        with pytest.raises(IndexNotReady, match="another search key"):
            Person.objects.create(email=A)


class OfAProject(BlindIndexField):
    """Keeps something of its model that an index of ours does not."""

    @cached_property
    def of_model(self):
        return self.model


class Below(OfAProject):
    pass


def test_what_an_index_keeps_is_of_its_own_model():
    class Base(models.Model):
        name = EncryptedTextField()
        name_index = Below("name")

        class Meta:
            app_label = "tests"
            abstract = True

    assert Base._meta.get_field("name_index").of_model is Base

    made = type("Meta", (), {"apps": Apps(), "app_label": "tests"})
    table = type("Table", (Base,), {"__module__": __name__, "Meta": made})

    assert table._meta.get_field("name_index").of_model is table
