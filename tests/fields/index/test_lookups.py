"""What a blind index lets queries ask of an encrypted field, in every shape that Django makes."""

import contextlib
import datetime
import pickle

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.db import connection
from django.db.models import (
    Case,
    CharField,
    Count,
    Exists,
    F,
    FilteredRelation,
    OuterRef,
    Q,
    Subquery,
    Value,
    When,
)  # fmt: skip
from django.db.models.functions import Length, Lower
from django.db.models.lookups import Exact
from django.forms import ModelChoiceField
from django.http import Http404
from rest_framework import serializers
from rest_framework.generics import get_object_or_404

from tests.models.indexed import Citizen, Doctor, Floor, Insured, Member, Person, Sample, Visit

A, B, C = "Ada@Example.org", "ben@example.org", "cy@example.org"
BORN = datetime.date(1815, 12, 10)


@pytest.fixture
def floor():
    return Floor.objects.create(name="w")


@pytest.fixture
def ada(floor):
    ada = Person.objects.create(name="ada", email=A, floor=floor)
    Visit.objects.create(person=ada, contact="ada@example.org", reason="Fever")
    Visit.objects.create(person=ada, contact=None, reason="")
    return ada


@pytest.fixture
def ben(floor):
    ben = Person.objects.create(name="ben", email=B, floor=floor)
    Visit.objects.create(person=ben, contact=A, reason="fever")
    return ben


@pytest.fixture
def nobody():
    return Person.objects.create(name="nobody")


@pytest.fixture
def people(ada, ben, nobody):
    """Three people, of whom one has no address."""


@pytest.fixture
def insured():
    Insured.objects.create(name="ada", ssn="078-05-1120")
    Insured.objects.create(name="ben", ssn="unknown")


def names(queryset):
    return sorted(queryset.values_list("name", flat=True))


def find(*args, model=Person, **kwargs):
    return names(model.objects.filter(*args, **kwargs))


def rest(*args, model=Person, **kwargs):
    return names(model.objects.exclude(*args, **kwargs))


@pytest.mark.usefixtures("people")
class TestOneValue:
    @pytest.mark.parametrize("term", [A, "ada@example.org", " ADA@EXAMPLE.ORG\n"])
    @pytest.mark.parametrize("lookup", ["email", "email__exact", "email__iexact"])
    def test_exact(self, lookup, term):
        assert find(**{lookup: term}) == ["ada"]

    def test_names_that_no_lookup_has_are_not_kept(self):
        """They may come from a client, as many as it likes."""
        for lookup in ("email__exact", "email__none", "email__none__of", "email__other"):
            with contextlib.suppress(FieldError):
                find(**{lookup: A})
        _, known = vars(Person._meta.get_field("email"))["_known_lookups"]
        assert {name for _, name in known} <= {"exact", "iexact", "in"}

    def test_get(self, ada):
        assert Person.objects.get(email=A) == ada
        with pytest.raises(Person.DoesNotExist):
            Person.objects.get(email="x@example.org")

    def test_a_value_expression(self):
        assert find(email=Value(A)) == ["ada"]

    def test_other_types(self):
        Sample.objects.create(name="s", size=7, data={"mrn": "A1", "deep": {}})
        assert find(model=Sample, size=7) == find(model=Sample, size="7") == ["s"]
        assert find(model=Sample, size=8) == []
        assert (
            find(model=Sample, data__mrn="A1") == find(model=Sample, data__mrn__in=["A1"]) == ["s"]
        )
        assert rest(model=Sample, data__mrn="A2") == ["s"]

    def test_none(self):
        assert (
            find(email=None) == find(email__isnull=True) == find(email__iexact=None) == ["nobody"]
        )
        assert rest(email=None) == find(email__isnull=False) == ["ada", "ben"]
        assert find(email_index=None) == ["nobody"]
        assert rest(email_index=None) == ["ada", "ben"]

    def test_in(self):
        assert find(email__in=[A, B, None]) == ["ada", "ben"]
        assert find(email__in=(each for each in [A])) == ["ada"]
        assert find(email__in=[Value(A)]) == ["ada"]
        with pytest.raises(FieldError, match=r"Q\(email=…\)"):
            find(email__in=[A, F("email")])
        assert find(email__in=[]) == find(email__in=[None]) == []
        assert rest(email__in=[A]) == ["ben", "nobody"]
        assert rest(email__in=[]) == ["ada", "ben", "nobody"]

    def test_exclude(self):
        assert rest(email=A) == ["ben", "nobody"]
        assert rest(email=A, name="ben") == ["ada", "ben", "nobody"]

    def test_exclude_finds_values_that_are_in_no_index(self, insured):
        assert rest(model=Insured, ssn="078051120") == ["ben"]
        assert find(~Q(ssn="078051120"), model=Insured) == ["ben"]
        assert rest(model=Insured, ssn__in=["078051120"]) == ["ben"]

    def test_q(self):
        assert find(Q(email=A) | Q(email=B)) == ["ada", "ben"]
        assert find(Q(email=A) & Q(email=B)) == []
        assert find(Q(email=A) ^ Q(name="ada")) == []
        assert find(~Q(email=A) & ~Q(email=None)) == ["ben"]

    def test_first_and_count(self):
        assert Person.objects.filter(email=A).first().name == "ada"
        assert Person.objects.filter(email=A).count() == 1
        assert Person.objects.filter(email=A).exists()
        assert Person.objects.filter(email=A).update(name="x") == 1
        assert Person.objects.filter(email=A).delete()[0] == 3

    def test_in_bulk(self, ada, ben):
        assert Person.objects.in_bulk([A, B, "x@x.x"], field_name="email") == {A: ada, B: ben}
        with pytest.raises(ValueError, match="unique"):
            Insured.objects.in_bulk(["078051120"], field_name="ssn")

    def test_parts(self, insured):
        assert find(model=Insured, ssn__last_four="1120") == ["ada"]
        assert find(model=Insured, ssn__last_four__in=["1120", "0000"]) == ["ada"]
        assert rest(model=Insured, ssn__last_four="1120") == ["ben"]

    def test_a_compound(self):
        Citizen.objects.create(name="ada", last_name="Lovelace", born=BORN)
        Citizen.objects.create(name="ben")
        assert find(model=Citizen, name_index=("Lovelace", BORN)) == ["ada"]
        assert find(model=Citizen, name_index=["Lovelace", "1815-12-10"]) == ["ada"]
        assert rest(model=Citizen, name_index=("Lovelace", BORN)) == ["ben"]
        assert find(model=Citizen, name_index=None) == ["ben"]
        for term in (1815, "1815"):
            assert find(model=Citizen, born__year=term) == ["ada"]
            assert find(model=Citizen, born__year__in=[term]) == ["ada"]

    def test_a_reused_queryset(self):
        rows = Person.objects.filter(email=A)
        assert names(rows) == names(rows.all()) == names(rows.filter(email=A)) == ["ada"]
        assert names(rows | Person.objects.filter(email=B)) == ["ada", "ben"]
        assert names(rows & Person.objects.filter(email=B)) == []
        assert sorted(each.name for each in rows.union(Person.objects.filter(email=B))) == [
            "ada",
            "ben",
        ]


@pytest.mark.usefixtures("people")
class TestJoins:
    def test_to_one(self):
        assert Visit.objects.filter(person__email=A).count() == 2
        assert Visit.objects.exclude(person__email=A).count() == 1

    def test_to_many(self):
        assert names(Person.objects.filter(visits__reason="FEVER")) == ["ada", "ben"]
        assert names(Floor.objects.filter(people__email=A)) == ["w"]
        assert names(Floor.objects.filter(people__visits__contact=A).distinct()) == ["w"]

    def test_exclude_of_many(self):
        assert rest(visits__contact=A) == ["nobody"]
        assert rest(visits__reason="fever", visits__contact=B) == ["ada", "ben", "nobody"]
        assert names(Floor.objects.exclude(people__email=A)) == []
        assert names(Floor.objects.exclude(people__email=C)) == ["w"]

    def test_a_child(self, ada):
        doctor = Doctor.objects.create(name="doc", email=C, pager="1")
        assert Doctor.objects.get(email=C) == Doctor.objects.get(pager="1") == doctor
        assert find(doctor__pager="1") == ["doc"]
        assert rest(doctor__pager="1") == ["ada", "ben", "nobody"]

    def test_filtered_relations(self):
        rows = Person.objects.annotate(
            fever=FilteredRelation("visits", condition=Q(visits__reason="FEVER"))
        )
        assert names(rows.filter(fever__isnull=False)) == ["ada", "ben"]
        assert names(rows.filter(fever__contact=A)) == ["ada", "ben"]

    def test_aggregates(self):
        found = Floor.objects.annotate(n=Count("people", filter=Q(people__email=A))).get()
        assert found.n == 1
        grouped = Person.objects.filter(email=A).values("floor").annotate(n=Count("pk"))
        assert [each["n"] for each in grouped] == [1]

    def test_annotations(self):
        rows = Person.objects.annotate(is_ada=Q(email=A), n=Count("visits"))
        assert {each.name: bool(each.is_ada) for each in rows} == {
            "ada": True, "ben": False, "nobody": False,
        }  # fmt: skip
        chosen = Person.objects.annotate(
            who=Case(When(email=A, then=Value("a")), default=Value("-"), output_field=CharField())
        )
        assert sorted(chosen.values_list("who", flat=True)) == ["-", "-", "a"]
        assert names(Person.objects.annotate(e=F("email")).filter(e=A)) == ["ada"]
        assert Person.objects.order_by(Case(When(email=A, then=1), default=0)).last().name == "ada"


@pytest.mark.usefixtures("people")
class TestComparedInTheDatabase:
    def test_f(self):
        assert [v.person.name for v in Visit.objects.filter(contact=F("person__email"))] == ["ada"]
        assert sorted(v.person.name for v in Visit.objects.exclude(contact=F("person__email"))) == [
            "ada", "ben",
        ]  # fmt: skip
        assert find(email=F("visits__contact")) == ["ada"]
        assert find(email=F("email")) == ["ada", "ben"]

    def test_exists(self):
        visits = Visit.objects.filter(contact=OuterRef("email"))
        assert find(Exists(visits)) == ["ada"]
        assert find(~Exists(visits)) == ["ben", "nobody"]
        inner = Visit.objects.filter(person=OuterRef("pk"), contact=OuterRef("email"))
        assert find(Exists(inner)) == ["ada"]
        assert find(Exists(Visit.objects.filter(contact=A, person=OuterRef("pk")))) == [
            "ada",
            "ben",
        ]

    def test_subqueries(self):
        contacts = Visit.objects.values("contact")
        assert (
            find(email__in=contacts)
            == find(email__in=Visit.objects.values_list("contact"))
            == ["ada"]
        )
        assert rest(email__in=contacts.exclude(contact=None)) == ["ben", "nobody"]
        one = Visit.objects.filter(person__name="ben").values("contact")
        assert find(email=Subquery(one[:1])) == find(email=one[:1]) == ["ada"]
        assert find(email__in=Subquery(one)) == ["ada"]
        nested = Visit.objects.filter(person=OuterRef("pk")).values("contact")[:1]
        assert find(email=Subquery(nested)) == ["ada"]
        assert find(pk__in=Person.objects.filter(email=A)) == ["ada"]
        assert find(pk__in=Visit.objects.filter(person__email=A).values("person")) == ["ada"]

    def test_values_that_are_in_no_index_do_not_empty_the_rest(self):
        Person.objects.create(name="blank", email=" ")
        contacts = Visit.objects.values("contact")
        assert rest(email__in=contacts) == ["ben", "blank", "nobody"]
        assert rest(email__in=Person.objects.filter(name="blank").values("email")) == [
            "ada", "ben", "blank", "nobody",
        ]  # fmt: skip
        one = Person.objects.filter(name="blank").values("email")[:1]
        assert rest(email=Subquery(one)) == ["ada", "ben", "blank", "nobody"]
        assert find(email=Subquery(one)) == []

    @pytest.mark.parametrize(
        "other",
        [
            F("visits__reason"), F("name"), F("notes"), F("email_index"), Lower(Value(A)),
            Subquery(Insured.objects.values("ssn")[:1]), Length("name"),
            Subquery(Sample.objects.values("data__mrn")[:1]),
            Subquery(Person.objects.values("name")[:1]), Person.objects.values("email"),
        ],
    )  # fmt: skip
    def test_what_shares_no_name_is_refused(self, other):
        with pytest.raises((FieldError, ValueError)):
            list(Person.objects.filter(email=other))

    @pytest.mark.parametrize("name", ["name", "notes", "pk"])
    def test_nor_in_subqueries(self, name):
        with pytest.raises(FieldError):
            list(Person.objects.filter(email__in=Person.objects.values(name)))
        with pytest.raises(FieldError):
            list(Person.objects.filter(Exists(Visit.objects.filter(contact=OuterRef(name)))))
        with pytest.raises(FieldError):
            list(Person.objects.filter(email__in=Person.objects.all()))


class TestRefused:
    @pytest.mark.parametrize(
        ("model", "lookup"),
        [
            *((Person, f"email{each}") for each in (
                "__contains", "__icontains", "__startswith", "__regex", "__gt", "__range",
                "__in__in", "__last_four", "__lower", "_index", "_index__exact", "__exact__x",
            )),
            (Person, "notes"), (Person, "notes__exact"), (Insured, "ssn__iexact"),
            (Insured, "ssn__contains"), (Insured, "ssn__last_four__iexact"), (Sample, "data"),
            (Sample, "data__other"), (Sample, "data__mrn__deep"), (Sample, "data__mrn__isnull"),
            (Sample, "data__mrn__iexact"), (Citizen, "born"), (Citizen, "born__month"),
            (Citizen, "born__lt"), (Citizen, "born__year__gt"), (Citizen, "born__year__isnull"),
            (Citizen, "last_name"), (Citizen, "name_index__gt"),
        ],
    )  # fmt: skip
    def test_lookups(self, model, lookup):
        with pytest.raises(FieldError):
            list(model.objects.filter(**{lookup: "x"}))

    @pytest.mark.parametrize(
        ("model", "lookup", "term"),
        [
            (Person, "email", ""), (Person, "email", "  "), (Person, "email__in", [A, ""]),
            (Insured, "ssn", "none"), (Insured, "ssn__last_four", "1"),
            (Citizen, "name_index", "x"), (Citizen, "name_index", ("a",)),
            (Citizen, "name_index", ("", BORN)),
            (Citizen, "name_index", ("a", None)), (Sample, "data__mrn", None),
            (Sample, "data__mrn", ""), (Sample, "data__mrn", [1]),
        ],
    )  # fmt: skip
    def test_what_is_in_no_index(self, model, lookup, term):
        with pytest.raises(FieldError):
            list(model.objects.filter(**{lookup: term}))

    @pytest.mark.parametrize("term", ["x", object()])
    def test_what_is_no_value(self, term):
        with pytest.raises(ValueError, match="not a value of the field") as caught:
            Sample.objects.filter(size=term)
        assert caught.value.__context__ is None

    def test_what_is_in_no_index_is_no_value_either(self):
        """Forms and views of REST framework regard it as what a client has sent."""
        field = ModelChoiceField(Person.objects.all(), to_field_name="email")
        with pytest.raises(ValidationError):
            field.clean(" ")
        with pytest.raises(Http404):
            get_object_or_404(Person.objects.all(), email=" ")
        with pytest.raises(serializers.ValidationError):
            serializers.SlugRelatedField("email", queryset=Person.objects.all()).run_validation(" ")

    def test_a_reference_without_an_outer_query(self):
        with pytest.raises(ValueError, match="outer query"):
            list(Visit.objects.filter(contact=OuterRef("email")))

    def test_lookups_that_are_made_by_hand(self):
        with pytest.raises(FieldError):
            list(Person.objects.filter(Exact(F("email"), A)))

    @pytest.mark.parametrize(
        ("model", "name"),
        [
            (Person, "email"), (Person, "email__x"), (Insured, "ssn__last_four"),
            (Sample, "data__mrn"), (Citizen, "born__year"),
        ],
    )  # fmt: skip
    def test_order_and_selection_of_parts(self, model, name):
        with pytest.raises(FieldError):
            list(model.objects.order_by(name))
        if "__" in name:
            with pytest.raises(FieldError):
                list(model.objects.values(name))
            with pytest.raises(FieldError):
                list(model.objects.annotate(part=F(name)))


class TestNothingShows:
    TERM = "hidden@example.org"

    def test_in_queries(self):
        rows = Person.objects.filter(email=self.TERM).exclude(email__in=[self.TERM])
        shown = [str(rows.query), repr(rows.query.where), rows.explain(), repr(rows.query)]
        rows.exists()
        shown += [each["sql"] for each in connection.queries]
        assert not any("hidden" in each for each in shown)

    def test_in_a_lookup(self):
        (lookup,) = Person.objects.filter(email=self.TERM).query.where.children
        assert "hidden" not in repr(lookup) + repr(vars(lookup))
        assert hash(lookup) == hash(lookup)
        assert lookup == lookup

    @pytest.mark.parametrize(
        ("model", "lookups"),
        [
            (Person, {"email__contains": TERM}), (Person, {"notes": TERM}),
            (Person, {"email_index": TERM}), (Sample, {"size": TERM}),
            (Citizen, {"name_index": TERM}), (Insured, {"ssn": TERM}),
        ],
    )  # fmt: skip
    def test_in_errors(self, model, lookups):
        with pytest.raises((FieldError, ValueError)) as caught:
            model.objects.filter(**lookups)
        assert "hidden" not in str(caught.value)
        assert (caught.value.__context__, caught.value.__cause__) == (None, None)

    def test_in_variables_of_ours(self):
        for model, lookups in (
            (Sample, {"size": self.TERM}), (Person, {"email__contains": self.TERM}),
            (Insured, {"ssn": "hidden"}), (Insured, {"ssn__in": ["hidden"]}),
            (Citizen, {"name_index": ("hidden", "hidden")}), (Member, {"email": self.TERM}),
            (Person, {"email": Lower(Value(self.TERM))}),
            (Person, {"email": Subquery(Person.objects.annotate(x=Value(self.TERM)).values("x"))}),
        ):  # fmt: skip
            with pytest.raises((FieldError, ValueError)) as caught:
                model.objects.filter(**lookups)
            frames, traceback = [], caught.tb
            while traceback is not None:
                if traceback.tb_frame.f_globals["__name__"].startswith("envelope_fields"):
                    frames.append(repr(traceback.tb_frame.f_locals))
                traceback = traceback.tb_next
            assert frames
            assert [frame for frame in frames if "hidden" in frame] == []

    def test_in_a_pickle(self):
        with pytest.raises(TypeError, match="holds the value"):
            pickle.dumps(Person.objects.filter(email=self.TERM).query)
