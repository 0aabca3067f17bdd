"""A FilterSet is made of a model with encrypted fields; only what compares envelopes is refused."""

import pytest
from django.core.exceptions import FieldError
from django_filters import BooleanFilter, FilterSet

from tests.neighbours.filters.models import Contact, Patient, Visit

pytestmark = pytest.mark.django_db


class Everything(FilterSet):
    class Meta:
        model = Patient
        fields = "__all__"


class Chosen(FilterSet):
    unwritten = BooleanFilter("notes", "isnull")

    class Meta:
        model = Patient
        fields = {"name": ["exact", "icontains"], "notes": ["exact", "icontains", "in", "isnull"]}


class Related(FilterSet):
    class Meta:
        model = Visit
        fields = {"patient__notes": ["exact"], "patient__name": ["exact"]}


@pytest.fixture(autouse=True)
def patients():
    ann, bob = Patient.objects.create(name="Ann", notes="a"), Patient.objects.create(name="Bob")
    Visit.objects.create(patient=ann, reason="x")
    return ann, bob


def names(found):
    return [patient.name for patient in found.qs]


def test_the_other_fields():
    assert names(Everything({"name": "Ann"})) == ["Ann"]
    assert names(Chosen({"name__icontains": "bo"})) == ["Bob"]
    assert Related({"patient__name": "Ann"}).qs.count() == 1


@pytest.mark.parametrize("name", ["notes__isnull", "unwritten"])
def test_whether_there_is_a_value(name):
    assert names(Chosen({name: "true"})) == ["Bob"]
    assert names(Chosen({name: "false"})) == ["Ann"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Everything, "notes"), (Chosen, "notes"), (Chosen, "notes__icontains"),
     (Chosen, "notes__in"), (Related, "patient__notes")],
)  # fmt: skip
def test_what_compares_is_refused(kind, name):
    with pytest.raises(FieldError, match=r"filters\.Patient\.notes is encrypted"):
        len(kind({name: "a"}).qs)


class EveryContact(FilterSet):
    class Meta:
        model = Contact
        exclude = ["email_index", "phone_index"]  # a column of bytes has no filter


class Indexed(FilterSet):
    class Meta:
        model = Contact
        fields = {
            "email": ["exact", "iexact", "in", "isnull"],
            "phone": ["exact", "in"],
            "patient": ["exact"],
        }


class OfContacts(FilterSet):
    class Meta:
        model = Patient
        fields = {"contact__email": ["exact", "in"]}


class TestIndexes:
    @pytest.fixture(autouse=True)
    def contacts(self, patients):
        for patient, email in zip(patients, ("Ann@example.org", ""), strict=True):
            Contact.objects.create(
                patient=patient, email=email, phone="+49 30 123" if email else ""
            )

    @pytest.mark.parametrize("kind", [EveryContact, Indexed])
    def test_a_whole_value(self, kind):
        for term, found in (("ann@EXAMPLE.org", ["Ann"]), ("x@example.org", [])):
            assert [each.patient.name for each in kind({"email": term}).qs] == found
        assert kind({"email": ""}).qs.count() == 2
        assert "email_index" not in kind.base_filters

    @pytest.mark.parametrize("name", ["email__iexact", "email__in"])
    def test_other_lookups(self, name):
        assert [each.patient.name for each in Indexed({name: "ANN@example.org"}).qs] == ["Ann"]

    def test_of_a_relation(self):
        for name in ("contact__email", "contact__email__in"):
            assert names(OfContacts({name: "ann@example.org"})) == ["Ann"]

    def test_what_has_no_normal_form(self):
        form = Indexed({"email": "   "})
        assert form.is_valid()
        assert form.qs.count() == 2  # the form field strips it, and an empty filter filters nothing

    @pytest.mark.parametrize(
        ("term", "found"),
        [
            ({"phone": "(49) 30-123"}, 1), ({"phone": "none"}, 0), ({"phone__in": "none"}, 0),
            ({"phone__in": "4930123,none"}, 1), ({"phone": ""}, 2),
        ],
    )  # fmt: skip
    def test_what_no_value_can_be(self, term, found):
        assert Indexed(term).qs.count() == found


def test_an_empty_filter_compares_nothing():
    assert names(Everything({"notes": ""})) == ["Ann", "Bob"]
    assert "notes" in Everything().form.as_p()


def test_a_lookup_that_the_field_does_not_have():
    meta = type("Meta", (), {"model": Patient, "fields": {"notes": ["year__gt"]}})
    with pytest.raises(FieldError, match=r"filters\.Patient\.notes"):
        type("Odd", (FilterSet,), {"Meta": meta})
