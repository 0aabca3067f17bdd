"""Serializers that validate what is unique by blind indexes."""

import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework import filters, generics, serializers
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from envelope_fields.models import BlindIndex, IndexState
from tests.models.indexed import Account, Doctor, Member, Person, Tenant, Visit

A, OTHER_A, B = "Ada@Example.org", "ada@EXAMPLE.org", "ben@example.org"
DAY = datetime.date(2026, 1, 1)


def serializer_of(model, *fields):
    meta = type("Meta", (), {"model": model, "fields": fields or "__all__"})
    return type("Made", (serializers.ModelSerializer,), {"Meta": meta})


def codes(serializer):
    serializer.is_valid()
    return {name: [each.code for each in errors] for name, errors in serializer.errors.items()}


@pytest.fixture
def one():
    return Tenant.objects.create(name="one")


class TestValues:
    @pytest.mark.parametrize("model", [Person, Doctor])
    def test_the_error_is_at_the_field(self, model):
        Person.objects.create(email=A)
        made = serializer_of(model, "name", "email")
        assert codes(made(data={"email": OTHER_A})) == {"email": ["unique"]}
        assert codes(made(data={"email": B})) == {}

    def test_one_query(self):
        Person.objects.create(email=A)  # which begins the index
        made = serializer_of(Person, "email")(data={"email": B})
        with CaptureQueriesContext(connection) as asked:
            assert made.is_valid()
        assert sum("tests_" in each["sql"] for each in asked.captured_queries) == 1

    @pytest.mark.parametrize("email", ["", None])
    def test_what_is_in_no_index(self, email):
        Person.objects.create(email=email)
        assert codes(serializer_of(Person)(data={"email": email})) == {}

    def test_what_cannot_be_a_value_is_refused_for_that(self):
        made = serializer_of(Person)(data={"email": "\ud800@example.org"})
        assert codes(made) == {"email": ["surrogate_characters_not_allowed", "invalid"]}

    def test_another_field_name(self):
        Person.objects.create(email=A)
        meta = type("Meta", (), {"model": Person, "fields": ["mail"]})
        fields = {"Meta": meta, "mail": serializers.EmailField(source="email")}
        made = type("Made", (serializers.ModelSerializer,), fields)
        assert codes(made(data={"mail": B})) == {}


class TestScopes:
    made = serializer_of(Member, "tenant", "name", "email")

    def test_the_error_is_at_the_field(self, one):
        Member.objects.create(tenant=one, email=A)
        two = Tenant.objects.create(name="two")
        assert codes(self.made(data={"tenant": one.pk, "email": OTHER_A})) == {"email": ["unique"]}
        assert codes(self.made(data={"tenant": two.pk, "email": OTHER_A})) == {}
        assert codes(self.made(data={"tenant": one.pk, "email": B})) == {}

    def test_one_that_moves_to_another(self, one):
        two = Tenant.objects.create(name="two")
        Member.objects.create(tenant=one, email=A)
        ben = Member.objects.create(tenant=two, email=OTHER_A)
        moved = self.made(ben, data={"tenant": one.pk}, partial=True)
        assert codes(moved) == {"email": ["unique"]}
        assert ben.tenant == two  # nothing is assigned before it is saved

    def test_of_the_object_itself(self, one):
        ada = Member.objects.create(tenant=one, email=A)
        assert codes(self.made(ada, data={"tenant": one.pk, "email": OTHER_A})) == {}
        loaded = Member.objects.get()
        assert codes(self.made(loaded, data={"email": OTHER_A}, partial=True)) == {}
        assert codes(self.made(loaded, data={"name": "x"}, partial=True)) == {}

    def test_an_object_of_another_one(self, one):
        Member.objects.create(tenant=one, email=A)
        ben = Member.objects.create(tenant=one, email=B)
        for data in ({"email": OTHER_A}, {"email": OTHER_A, "tenant": one.pk}):
            assert codes(self.made(ben, data=data, partial=True)) == {"email": ["unique"]}

    def test_a_scope_that_is_not_posted(self, one):
        Member.objects.create(tenant=one, email=A)
        without = serializer_of(Member, "email")
        assert codes(without(data={"email": A})) == {}  # it is said when it is saved
        ben = Member.objects.create(tenant=one, email=B)
        assert codes(without(ben, data={"email": OTHER_A})) == {"email": ["unique"]}


class TestSeveralColumns:
    made = serializer_of(Visit, "person", "day", "reason")

    @pytest.fixture
    def fever(self):
        return Visit.objects.create(person=Person.objects.create(), day=DAY, reason="Fever")

    def post(self, fever, **data):
        return codes(self.made(data={"person": fever.person_id, "day": DAY, **data}))

    def test_the_error_is_at_no_field(self, fever):
        assert self.post(fever, reason="FEVER") == {"non_field_errors": ["unique_together"]}
        assert self.post(fever, reason="cough") == {}

    @pytest.mark.parametrize("data", [{"reason": ""}, {"reason": "fever", "day": None}, {}])
    def test_what_is_in_no_index(self, fever, data):
        Visit.objects.create(person=fever.person, day=DAY, reason="")
        assert self.post(fever, **data) == {}

    def test_of_the_object_itself(self, fever):
        assert codes(self.made(fever, data={"reason": "FEVER"}, partial=True)) == {}
        cough = Visit.objects.create(person=fever.person, day=DAY, reason="cough")
        changed = self.made(cough, data={"reason": "FEVER"}, partial=True)
        assert codes(changed) == {"non_field_errors": ["unique_together"]}

    def test_while_the_index_is_filled(self, fever):
        labels = BlindIndex.objects.filter(label="tests.visit.reason_index")
        assert labels.update(state=IndexState.FILLING) == 1
        assert self.post(fever, reason="FEVER") == {"non_field_errors": ["unique_together"]}

    def test_validators_of_its_own(self, fever):
        made = type("Made", (self.made,), {"Meta": type("Meta", (self.made.Meta,), {})})
        made.Meta.validators = []
        data = {"person": fever.person_id, "day": DAY, "reason": "FEVER"}
        assert codes(made(data=data)) == {}


class TestConditions:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            ({"name": "ADA"}, {"name": ["unique"]}),
            ({"name": "ADA", "active": False}, {}),
            ({"name": "x"}, {}),
        ],
    )
    def test_a_condition(self, data, expected):
        Account.objects.create(name="Ada")
        Account.objects.create(name="Ada", active=False)
        assert codes(serializer_of(Account, "name", "active")(data=data)) == expected


class TestSearch:
    """One box is for several columns: what cannot be in one of them may be in another."""

    @pytest.mark.parametrize(("term", "found"), [("ADA@example.org", 1), ("ben", 1), ('" "', 0)])
    def test_whole_values(self, term, found):
        Person.objects.create(name="ada", email=A)
        Person.objects.create(name="ben", email=B)
        view = generics.ListAPIView(
            queryset=Person.objects.all(),
            serializer_class=serializer_of(Person, "name"),
            filter_backends=[filters.SearchFilter],
        )
        view.search_fields = ["=email", "=name"]
        view.request = Request(APIRequestFactory().get("/", {"search": term}))
        assert view.filter_queryset(view.queryset).count() == found
