"""What a blind index lets queries ask of an encrypted field, in every shape that Django makes."""

import datetime
import pickle

import pytest
from django.core.exceptions import FieldError
from django.db import connection
from django.db.models import (
    Case, CharField, Count, Exists, F, FilteredRelation, OuterRef, Q, Subquery, Value, When,
)  # fmt: skip
from django.db.models.functions import Length, Lower
from django.db.models.lookups import Exact

from tests.models.indexed import Doctor, Person, Visit, Floor

A, B, C = "Ada@Example.org", "ben@example.org", "cy@example.org"
BORN = datetime.date(1815, 12, 10)


@pytest.fixture
def floor():
    return Floor.objects.create(name="w")


@pytest.fixture
def ada(floor):
    ada = Person.objects.create(
        name="ada", email=A, ssn="078-05-1120", born=BORN, size=7, floor=floor, last_name="Lovelace"
    )
    Visit.objects.create(person=ada, contact="ada@example.org", reason="Fever")
    Visit.objects.create(person=ada, contact=None, reason="")
    return ada


@pytest.fixture
def ben(floor):
    ben = Person.objects.create(name="ben", email=B, ssn="unknown", floor=floor)
    Visit.objects.create(person=ben, contact=A, reason="fever")
    return ben


@pytest.fixture
def nobody():
    return Person.objects.create(name="nobody")


@pytest.fixture(autouse=True)
def rows(ada, ben, nobody):
    """Some rows."""


def names(queryset):
    return sorted(queryset.values_list("name", flat=True))


def find(*args, **kwargs):
    return names(Person.objects.filter(*args, **kwargs))


def rest(*args, **kwargs):
    return names(Person.objects.exclude(*args, **kwargs))


class TestOneValue:
    @pytest.mark.parametrize("term", [A, "ada@example.org", " ADA@EXAMPLE.ORG\n"])
    @pytest.mark.parametrize("lookup", ["email", "email__exact", "email__iexact"])
    def test_exact(self, lookup, term):
        assert find(**{lookup: term}) == ["ada"]

    def test_get(self, ada):
        assert Person.objects.get(email=A) == ada
        with pytest.raises(Person.DoesNotExist):
            Person.objects.get(email="x@example.org")

    def test_a_value_expression(self):
        assert find(email=Value(A)) == ["ada"]

    def test_other_types(self):
        assert find(born=BORN) == find(born="1815-12-10") == find(size=7) == find(size="7") == ["ada"]
        assert find(size=8) == []

    def test_none(self):
        assert find(email=None) == find(email__isnull=True) == find(email__iexact=None) == ["nobody"]
        assert rest(email=None) == find(email__isnull=False) == ["ada", "ben"]

    def test_in(self):
        assert find(email__in=[A, B, None]) == ["ada", "ben"]
        assert find(email__in=(each for each in [A])) == ["ada"]
        assert find(email__in=[]) == find(email__in=[None]) == []
        assert rest(email__in=[A]) == ["ben", "nobody"]
        assert rest(email__in=[]) == ["ada", "ben", "nobody"]

    def test_exclude(self):
        assert rest(email=A) == ["ben", "nobody"]
        assert rest(email=A, name="ben") == ["ada", "ben", "nobody"]

    def test_exclude_finds_values_that_are_in_no_index(self):
        assert rest(ssn="078051120") == ["ben", "nobody"]
        assert find(~Q(ssn="078051120")) == ["ben", "nobody"]
        assert rest(ssn__in=["078051120"]) == ["ben", "nobody"]

    def test_q(self):
        assert find(Q(email=A) | Q(email=B)) == ["ada", "ben"]
        assert find(Q(email=A) & Q(ssn="078051120")) == ["ada"]
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
            Person.objects.in_bulk(["078051120"], field_name="ssn")

    def test_parts(self):
        assert find(ssn__last_four="1120") == find(ssn__last_four__in=["1120", "0000"]) == ["ada"]
        assert find(born__year=1815) == find(born__year="1815") == find(born__year__in=[1815]) == ["ada"]

    def test_a_compound(self):
        assert find(name_index=("Lovelace", BORN)) == ["ada"]
        assert find(name_index=["Lovelace", "1815-12-10"]) == ["ada"]
        assert rest(name_index=("Lovelace", BORN)) == ["ben", "nobody"]
        assert find(name_index=None) == ["ben", "nobody"]

    def test_a_reused_queryset(self):
        rows = Person.objects.filter(email=A)
        assert names(rows) == names(rows.all()) == names(rows.filter(email=A)) == ["ada"]
        assert names(rows | Person.objects.filter(email=B)) == ["ada", "ben"]
        assert names(rows & Person.objects.filter(email=B)) == []
        assert sorted(each.name for each in rows.union(Person.objects.filter(email=B))) == ["ada", "ben"]


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
        assert Person.objects.order_by(Q(email=A), "name").last().name == "ada"


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
        assert find(Exists(Visit.objects.filter(contact=A, person=OuterRef("pk")))) == ["ada", "ben"]

    def test_subqueries(self):
        contacts = Visit.objects.values("contact")
        assert find(email__in=contacts) == find(email__in=Visit.objects.values_list("contact")) == ["ada"]
        assert rest(email__in=contacts.exclude(contact=None)) == ["ben", "nobody"]
        one = Visit.objects.filter(person__name="ben").values("contact")
        assert find(email=Subquery(one[:1])) == find(email=one[:1]) == ["ada"]
        assert find(email__in=Subquery(one)) == ["ada"]
        nested = Visit.objects.filter(person=OuterRef("pk")).values("contact")[:1]
        assert find(email=Subquery(nested)) == ["ada"]
        assert find(pk__in=Person.objects.filter(email=A)) == ["ada"]
        assert find(pk__in=Visit.objects.filter(person__email=A).values("person")) == ["ada"]

    @pytest.mark.parametrize(
        "other",
        [
            F("ssn"), F("name"), F("notes"), F("email_index"), Lower(Value(A)), F("record__mrn"),
            Subquery(Person.objects.values("ssn")[:1]), Subquery(Person.objects.values("name")[:1]),
            Length("name"),
        ],
    )  # fmt: skip
    def test_what_shares_no_name_is_refused(self, other):
        with pytest.raises(FieldError):
            list(Person.objects.filter(email=other))

    @pytest.mark.parametrize("name", ["ssn", "name", "notes", "pk"])
    def test_nor_in_subqueries(self, name):
        with pytest.raises(FieldError):
            list(Person.objects.filter(email__in=Person.objects.values(name)))
        with pytest.raises(FieldError):
            list(Person.objects.filter(Exists(Visit.objects.filter(contact=OuterRef(name)))))
        with pytest.raises(FieldError):
            list(Person.objects.filter(email__in=Person.objects.all()))


class TestRefused:
    @pytest.mark.parametrize(
        "lookup",
        [
            "email__contains", "email__icontains", "email__startswith", "email__regex", "email__gt",
            "email__range", "email__last_four", "email__lower", "ssn__iexact", "ssn__contains",
            "notes", "notes__exact", "record", "record__other", "record__mrn__deep", "born__month",
            "born__lt", "born__year__gt", "ssn__last_four__iexact", "record__mrn__isnull",
            "email_index", "email_index__exact", "name_index__gt", "born__year__isnull",
            "record__mrn__iexact", "last_name", "email__in__in",
        ],
    )  # fmt: skip
    def test_lookups(self, lookup):
        with pytest.raises(FieldError):
            list(Person.objects.filter(**{lookup: "x"}))

    @pytest.mark.parametrize(
        ("lookup", "term"),
        [
            ("email", ""), ("email", "  "), ("ssn", "none"), ("email__in", [A, ""]),
            ("ssn__last_four", "1"), ("name_index", "x"), ("name_index", ("a",)),
            ("name_index", ("", BORN)), ("name_index", ("a", None)), ("record__mrn", None),
            ("record__mrn", ""), ("record__mrn", [1]),
        ],
    )  # fmt: skip
    def test_what_is_in_no_index(self, lookup, term):
        with pytest.raises(FieldError):
            list(Person.objects.filter(**{lookup: term}))

    @pytest.mark.parametrize("term", ["x", object()])
    def test_what_is_no_value(self, term):
        with pytest.raises(ValueError, match="not a value of the field") as caught:
            Person.objects.filter(size=term)
        assert caught.value.__context__ is None

    def test_lookups_that_are_made_by_hand(self):
        with pytest.raises(FieldError):
            list(Person.objects.filter(Exact(F("email"), A)))

    @pytest.mark.parametrize("name", ["email", "ssn__last_four", "record__mrn", "email__x"])
    def test_order(self, name):
        with pytest.raises(FieldError):
            list(Person.objects.order_by(name))

    @pytest.mark.parametrize("name", ["ssn__last_four", "record__mrn", "born__year"])
    def test_selecting_a_part(self, name):
        with pytest.raises(FieldError):
            list(Person.objects.values(name))
        with pytest.raises(FieldError):
            list(Person.objects.annotate(part=F(name)))


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
        assert lookup == lookup  # noqa: PLR0124

    @pytest.mark.parametrize("lookups", [{"email__contains": TERM}, {"size": TERM}, {"notes": TERM}, {"name_index": TERM}])
    def test_in_errors(self, lookups):
        with pytest.raises((FieldError, ValueError)) as caught:
            Person.objects.filter(**lookups)
        assert "hidden" not in str(caught.value)
        assert (caught.value.__context__, caught.value.__cause__) == (None, None)

    def test_in_variables_of_ours(self):
        from django.test import RequestFactory
        from django.views.debug import ExceptionReporter

        for lookups in ({"size": self.TERM}, {"email__contains": self.TERM}, {"ssn": "hidden"}, {"ssn__in": ["hidden"]}):
            with pytest.raises((FieldError, ValueError)) as caught:
                Person.objects.filter(**lookups)
            frames = []
            traceback = caught.tb
            while traceback is not None:
                if "envelope_fields" in traceback.tb_frame.f_globals["__name__"]:
                    frames.append(repr(traceback.tb_frame.f_locals))
                traceback = traceback.tb_next
            assert frames
            assert "hidden" not in "".join(frames)

    def test_in_a_pickle(self):
        with pytest.raises(TypeError, match="holds the value"):
            pickle.dumps(Person.objects.filter(email=self.TERM).query)
