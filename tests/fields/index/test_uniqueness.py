"""Encrypted values that are unique: in the database, and where Django says so before."""

import datetime
from contextlib import contextmanager

import pytest
from django.core.exceptions import NON_FIELD_ERRORS, FieldError, ValidationError
from django.db import IntegrityError, connection
from django.db.transaction import atomic
from django.forms import modelform_factory, modelformset_factory
from django.test.utils import CaptureQueriesContext
from rest_framework.serializers import ModelSerializer

from envelope_fields.fields import IndexedUnique
from envelope_fields.models import BlindIndex, IndexState
from tests.models.indexed import Account, Doctor, Person, PersonProxy, Visit

A, OTHER_A, B = "Ada@Example.org", "ada@EXAMPLE.org", "ben@example.org"
DAY = datetime.date(2026, 1, 1)

PersonForm = modelform_factory(Person, fields=["name", "email"])


@pytest.fixture
def ada():
    return Person.objects.create(name="ada", email=A)


@contextmanager
def queries():
    """The statements about the tables of the tests: keys of a transaction are not cached."""
    found = []
    with CaptureQueriesContext(connection) as asked:
        yield found
    found += [each["sql"] for each in asked.captured_queries if "tests_" in each["sql"]]


def errors_of(instance, **kwargs):
    with pytest.raises(ValidationError) as caught:
        instance.full_clean(**kwargs)
    return caught.value.message_dict


class TestTheDatabase:
    @pytest.mark.parametrize(
        "write",
        [
            lambda _: Person.objects.create(email=OTHER_A),
            lambda _: Person.objects.bulk_create([Person(email=OTHER_A)]),
            lambda ben: Person.objects.filter(pk=ben.pk).update(email=OTHER_A),
            lambda ben: Person(pk=ben.pk, email=OTHER_A).save(),
            lambda ben: Person.plain.bulk_update([Person(pk=ben.pk, email=OTHER_A)], ["email"]),
            lambda _: Person.objects.update(email=B),
        ],
    )
    def test_refuses_the_same(self, ada, write):
        ben = Person.objects.create(email=B)
        with pytest.raises(IntegrityError) as caught, atomic():
            write(ben)
        assert "ample.org" not in str(caught.value).lower()

    def test_takes_several_without_a_value(self):
        Person.objects.bulk_create([Person(), Person(), Person(email=""), Person(email=" ")])
        assert Person.objects.count() == 4

    def test_over_several_columns(self):
        person = Person.objects.create()
        Visit.objects.create(person=person, day=DAY, reason="Fever")
        Visit.objects.create(person=person, day=None, reason="fever")
        Visit.objects.create(person=person, day=DAY, reason="cough")
        Visit.objects.create(person=person, day=DAY, reason="")
        Visit.objects.create(person=person, day=DAY, reason="")
        with pytest.raises(IntegrityError), atomic():
            Visit.objects.create(person=person, day=DAY, reason="FEVER")

    def test_no_unique_is_on_an_envelope(self):
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, Person._meta.db_table)
            of_visits = connection.introspection.get_constraints(cursor, Visit._meta.db_table)
        unique = [each["columns"] for each in found.values() if each["unique"]]
        assert [each for each in unique if each != ["id"]] == [["email_index"]]
        assert ["day", "reason_index"] in [
            each["columns"] for each in of_visits.values() if each["unique"]
        ]
        indexed = [each["columns"] for each in of_visits.values() if each["index"]]
        assert ["contact_index"] in indexed

    def test_the_columns_are_as_wide_as_an_index(self):
        kinds = {"postgresql": "bytea", "sqlite": "BLOB", "mysql": "varbinary(24)"}
        assert Person._meta.get_field("email_index").db_type(connection) == kinds[connection.vendor]


class TestForms:
    def test_the_error_is_at_the_field(self, ada):
        form = PersonForm({"name": "x", "email": OTHER_A})
        assert form.errors == {"email": ["Person with this Email already exists."]}
        assert form.errors.as_data()["email"][0].code == "unique"

    def test_one_query(self, ada):
        form = PersonForm({"name": "x", "email": B})
        with queries() as asked:
            assert form.is_valid()
        assert len(asked) == 1
        assert "ben" not in asked[0]

    def test_of_the_object_itself(self, ada):
        form = PersonForm({"name": "new", "email": OTHER_A}, instance=Person.objects.get())
        assert form.is_valid()
        form.save()
        assert Person.objects.get(email=A).email == OTHER_A

    @pytest.mark.parametrize("email", ["", None])
    def test_no_value(self, email):
        Person.objects.create(email=email)
        assert PersonForm({"name": "x", "email": ""}).is_valid()

    def test_a_form_without_the_field(self, ada):
        form = modelform_factory(Person, fields=["name"])({"name": "x"}, instance=ada)
        with queries() as asked:
            assert form.is_valid()
        assert len(asked) == 0

    def test_the_index_is_in_no_form(self):
        assert list(modelform_factory(Person, fields="__all__").base_fields) == [
            "name", "email", "notes", "floor",
        ]  # fmt: skip
        with pytest.raises(FieldError, match="non-editable"):
            modelform_factory(Person, fields=["email_index"])

    def test_a_child_and_a_proxy(self, ada):
        for model in (Doctor, PersonProxy):
            form = modelform_factory(model, fields=["email"])({"email": OTHER_A})
            assert list(form.errors) == ["email"]

    def test_a_formset(self, ada):
        data = {
            "form-TOTAL_FORMS": 2,
            "form-INITIAL_FORMS": 0,
            "form-0-email": B,
            "form-1-email": B,
        }
        forms = modelformset_factory(Person, fields=["email"])(data, queryset=Person.objects.none())
        assert not forms.is_valid()
        assert "duplicate" in str(forms.errors + forms.non_form_errors()).lower()

    def test_several_columns(self):
        person = Person.objects.create()
        Visit.objects.create(person=person, day=DAY, reason="Fever")
        form_class = modelform_factory(Visit, fields=["person", "day", "reason"])
        form = form_class({"person": person.pk, "day": DAY, "reason": "FEVER"})
        assert form.errors == {NON_FIELD_ERRORS: ["Visit with this Day and Reason already exists."]}
        assert form_class({"person": person.pk, "day": DAY, "reason": "cough"}).is_valid()
        assert form_class({"person": person.pk, "reason": "fever"}).is_valid()


class TestFullClean:
    def test_the_error_is_at_the_field(self, ada):
        assert errors_of(Person(email=OTHER_A)) == {
            "email": ["Person with this Email already exists."]
        }
        ben = Person.objects.create(email=B)
        ben.email = A
        assert list(errors_of(ben)) == ["email"]

    def test_of_the_object_itself(self, ada):
        with queries() as asked:
            ada.full_clean()
        assert len(asked) == 1
        Person.objects.get().full_clean()
        ada.full_clean(exclude=["email"])

    def test_while_the_index_is_filled(self, ada):
        BlindIndex.objects.filter(label="tests.person.email_index").update(state=IndexState.FILLING)
        assert list(errors_of(Person(email=OTHER_A))) == ["email"]

    def test_django_knows_that_it_is_unique(self):
        unique = [each.fields for each in Person._meta.total_unique_constraints]
        assert unique == [("email",)]
        assert not Person._meta.get_field("email").unique
        assert Person._meta.constraints == []


class TestSerializers:
    def serializer(self, **data):
        class PersonSerializer(ModelSerializer):
            class Meta:
                model = Person
                fields = "__all__"

        return PersonSerializer(data=data)

    def test_the_error_is_at_the_field(self, ada):
        made = self.serializer(name="x", email=OTHER_A)
        assert not made.is_valid()
        assert made.errors["email"][0].code == "unique"
        assert self.serializer(name="x", email=B).is_valid()

    def test_the_index_is_in_none(self):
        assert "email_index" not in self.serializer().fields


def _check(email):
    Person(email=email).full_clean()


def _validate(email):
    assert PersonForm({"name": "x", "email": email}).is_valid()


def _validate_and_save(email):
    PersonForm({"name": "x", "email": email}).save()


def _serialize(email):
    assert TestSerializers().serializer(name="x", email=email).is_valid()


def _save(email):
    Person(email=email).save()


def _create_several(email):
    Person.objects.bulk_create([Person(email=email), Person(email=f"other.{email}")])


@pytest.mark.parametrize(
    ("do", "count"),
    [
        (_check, 1), (_validate, 1), (_validate_and_save, 2), (_serialize, 1), (_save, 1),
        (_create_several, 1),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)  # fmt: skip
def test_there_are_as_many_queries_as_for_a_plain_unique_field(ada, do, count):
    """One that checks, and one that writes."""
    with queries() as asked:
        do(B)
    assert len(asked) == count


class TestConditions:
    def test_a_condition(self):
        Account.objects.create(name="Ada")
        Account.objects.create(name="Ada", active=False)
        assert list(errors_of(Account(name="ADA"))) == [NON_FIELD_ERRORS]
        Account(name="ADA", active=False).full_clean()
        Account(name="x").full_clean()
        assert Account._meta.total_unique_constraints == []
        if connection.features.supports_partial_indexes:
            with pytest.raises(IntegrityError), atomic():
                Account.objects.create(name="ADA")

    def test_a_field_without_an_index(self):
        with pytest.raises(FieldError, match="no blind index"):
            IndexedUnique(fields=["notes"], name="none").columns(Person)
