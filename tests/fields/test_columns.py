"""The database compares, orders and computes on nothing that is encrypted, on any of them."""

import pytest
from django.core.exceptions import FieldError
from django.db import connection, transaction
from django.db.models import (
    Case,
    CharField,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    FilteredRelation,
    Lookup,
    Max,
    OuterRef,
    Q,
    Subquery,
    TextField,
    Transform,
    Value,
    When,
    Window,
)
from django.db.models.fields.json import KT, KeyTextTransform, KeyTransform
from django.db.models.functions import Cast, Length, Lower, RowNumber
from django.db.models.lookups import Exact, GreaterThan, IContains, In, IsNull

from tests.models import Child, Clinic, Declared, Note, Ward
from tests.stored import stored

pytestmark = pytest.mark.django_db

ROWS = Note.objects.all()
NOTES = ROWS.order_by("pk")
CHILDREN = Child.objects.order_by("pk")
TEXT = Subquery(NOTES.values("text")[:1])


@pytest.fixture(autouse=True)
def note():
    Ward.objects.create(name="t", door_code="1")
    note = Note.objects.create(title="t", text="a", data={"uid": "7"})
    Child.objects.create(note=note, text="a")
    Note.objects.create(title="u", text="", data=None)
    Clinic.objects.create(name="c")
    return note


REFUSED = {
    # What a login by social-auth asks for.
    "cast of a JSON path": lambda: NOTES.annotate(
        uid=Cast(KeyTextTransform("uid", "data"), CharField())
    ).filter(uid="7"),
    "JSON path": lambda: NOTES.annotate(uid=KT("data__uid")),
    "JSON transform": lambda: NOTES.annotate(uid=KeyTransform("uid", "data")),
    "cast": lambda: NOTES.annotate(out=Cast("text", CharField())),
    "cast that is filtered by": lambda: NOTES.alias(out=Cast("text", TextField())).filter(out="a"),
    "wrapper": lambda: NOTES.annotate(out=ExpressionWrapper(F("text"), TextField())),
    "length": lambda: NOTES.annotate(length=Length("text")),
    "length that is filtered by": lambda: NOTES.filter(GreaterThan(Length("text"), 5)),
    "lookup by hand": lambda: NOTES.filter(Exact(F("text"), "a")),
    "lookup by hand, in": lambda: NOTES.filter(In(F("text"), ["a"])),
    "lookup by hand, icontains": lambda: NOTES.filter(IContains(F("text"), "a")),
    "lookup by hand, not": lambda: NOTES.exclude(Exact(F("text"), "a")),
    "lookup by hand, in Q": lambda: NOTES.filter(Q(title="t") | Q(Exact(F("text"), "a"))),
    "lookup by hand, annotated": lambda: NOTES.annotate(same=Exact(F("text"), "a")),
    "lookup by hand, over a relation": lambda: CHILDREN.filter(Exact(F("note__text"), "a")),
    "null of a part": lambda: NOTES.filter(IsNull(KeyTransform("uid", "data"), True)),
    "on the right": lambda: NOTES.filter(title=F("text")),
    "on the right, over a relation": lambda: CHILDREN.filter(note__title=F("note__text")),
    "outer": lambda: NOTES.filter(Exists(Ward.objects.filter(name=OuterRef("text")))),
    "case": lambda: NOTES.annotate(
        out=Case(When(title="t", then=F("text")), output_field=TextField())
    ),
    "aggregate": lambda: NOTES.annotate(n=Count(Cast("text", TextField()))),
    "aggregate, distinct": lambda: NOTES.annotate(n=Count("text", distinct=True)),
    "aggregate, filtered": lambda: NOTES.annotate(n=Count("pk", filter=Q(Exact(F("text"), "a")))),
    "window": lambda: NOTES.annotate(n=Window(RowNumber(), partition_by=F("text"))),
    "ordered window": lambda: NOTES.annotate(n=Window(RowNumber(), order_by=F("text").asc())),
    "filtered relation": lambda: NOTES.annotate(
        some=FilteredRelation("children", condition=Q(Exact(F("children__text"), "a")))
    ).filter(some__pk=1),
    "cast of a subquery": lambda: NOTES.annotate(
        out=Cast(Subquery(NOTES.values("text")[:1]), TextField())
    ),
    "subquery on the right": lambda: NOTES.filter(text__isnull=False).filter(
        title=Subquery(NOTES.values("text")[:1])
    ),
    # A model without encrypted columns is not asked for any.
    "cast of a subquery in another model": lambda: Clinic.objects.annotate(
        out=Cast(TEXT, CharField())
    ),
    "length of a subquery": lambda: Clinic.objects.annotate(out=Length(TEXT)),
    "wrapper of a subquery": lambda: Clinic.objects.annotate(
        out=ExpressionWrapper(TEXT, TextField())
    ),
    "subquery of another type": lambda: Clinic.objects.annotate(
        out=Subquery(NOTES.values("text")[:1], output_field=TextField())
    ),
    "subquery on the right in another model": lambda: Clinic.objects.filter(name=TEXT),
    "subquery in a list": lambda: Clinic.objects.filter(name__in=NOTES.values("text")),
    "subquery within a subquery": lambda: Clinic.objects.filter(
        pk__in=Clinic.objects.filter(name=TEXT)
    ),
    "ordered by a subquery of another model": lambda: Clinic.objects.annotate(n=TEXT).order_by("n"),
    "ordered by a subquery, expression": lambda: Clinic.objects.order_by(TEXT.desc()),
    "ordered": lambda: ROWS.order_by("text"),
    "ordered downwards": lambda: ROWS.order_by("title", "-text"),
    "ordered, expression": lambda: ROWS.order_by(F("text").desc(nulls_last=True)),
    "ordered, function": lambda: ROWS.order_by(Lower(Cast("text", TextField()))),
    "ordered, JSON path": lambda: ROWS.order_by("data__uid"),
    "ordered over a relation": lambda: Child.objects.order_by("note__text"),
    "ordered by an annotation": lambda: Note.objects.annotate(n=F("text")).order_by("n"),
    "ordered by a subquery": lambda: Note.objects.annotate(
        n=Subquery(NOTES.values("text")[:1])
    ).order_by("n"),
    "ordered, without the column": lambda: Note.objects.values("pk").order_by("text"),
    "ordered, reversed": lambda: ROWS.order_by("text").reverse(),
    "ordered case": lambda: ROWS.order_by(Case(When(pk=1, then=F("text")))),
    "union that is ordered": lambda: (
        Note.objects.values_list("text").union(Note.objects.values_list("text")).order_by("text")
    ),
}


@pytest.mark.parametrize("query", REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused(query, django_assert_num_queries):
    with django_assert_num_queries(0), pytest.raises(FieldError, match="is encrypted"):
        list(query())


@pytest.mark.parametrize(
    "act",
    [
        lambda: NOTES.update(title=F("text")),
        lambda: NOTES.update(title=Cast("text", CharField())),
        lambda: NOTES.update(title=Length("text")),
        lambda: NOTES.update(title=Case(When(Exact(F("text"), "a"), then=Value("x")))),
        lambda: NOTES.filter(Exact(F("text"), "a")).update(title="x"),
        lambda: ROWS.order_by("text").first(),
        lambda: Note.objects.latest("text"),
        lambda: NOTES.filter(Exact(F("text"), "a")).delete(),
        lambda: NOTES.filter(Exact(F("text"), "a")).exists(),
        lambda: NOTES.filter(Exact(F("text"), "a")).count(),
        lambda: NOTES.aggregate(n=Count("text", distinct=True)),
        lambda: NOTES.values("text").distinct().aggregate(n=Max("text", output_field=TextField())),
        lambda: Clinic.objects.annotate(n=TEXT).aggregate(m=Count("n", distinct=True)),
        lambda: Clinic.objects.annotate(n=TEXT).aggregate(m=Max("n", output_field=TextField())),
        lambda: Clinic.objects.update(name=TEXT),
        lambda: Clinic.objects.create(name=TEXT),
        lambda: Clinic.objects.bulk_create([Clinic(name=TEXT)]),
        lambda: Clinic.objects.filter(name=TEXT).delete(),
        lambda: list(ROWS.order_by("pk").iterator()) and list(ROWS.order_by("text").iterator()),
    ],
)
def test_acts(note, act):
    before = stored(note, "text")
    with pytest.raises(FieldError, match="is encrypted"), transaction.atomic():
        act()
    assert stored(note, "text") == before
    assert list(NOTES.values_list("title", flat=True)) == ["t", "u"]
    assert Clinic.objects.get().name == "c"


def test_distinct_on():
    if not connection.features.can_distinct_on_fields:
        pytest.skip("no DISTINCT ON")
    with pytest.raises(FieldError, match="is encrypted"):
        list(Note.objects.distinct("text"))


ALLOWED = {
    "count": (lambda: [NOTES.aggregate(n=Count("text"))["n"]], [2]),
    "count of JSON": (lambda: [NOTES.aggregate(n=Count("data"))["n"]], [1]),
    "count per row": (
        lambda: NOTES.annotate(n=Count("children__text")).values_list("text", "n"),
        [("a", 1), ("", 0)],
    ),
    "count, filtered by null": (
        lambda: NOTES.annotate(n=Count("pk", filter=Q(data__isnull=False))).values_list("n"),
        [(1,), (0,)],
    ),
    "count of an annotation": (
        lambda: [NOTES.annotate(n=F("text"))[:1].aggregate(m=Count("n"))["m"]],
        [1],
    ),
    "ordered by a count": (
        lambda: ROWS.annotate(n=Count("children__text")).order_by("n").values_list("title"),
        [("u",), ("t",)],
    ),
    "null": (lambda: NOTES.filter(data__isnull=True).values_list("title"), [("u",)]),
    "not null": (lambda: NOTES.exclude(data__isnull=True).values_list("title"), [("t",)]),
    "null by hand": (
        lambda: NOTES.filter(IsNull(F("data"), True)).values_list("title"),
        [("u",)],
    ),
    "null, annotated": (
        lambda: NOTES.annotate(n=IsNull(F("data"), True)).values_list("n", "text"),
        [(False, "a"), (True, "")],
    ),
    "null, ordered": (
        lambda: ROWS.order_by(IsNull(F("data"), False), "pk").values_list("title"),
        [("u",), ("t",)],
    ),
    "null, case": (
        lambda: NOTES.annotate(
            n=Case(When(data__isnull=True, then=Value(1)), default=Value(0))
        ).values_list("n"),
        [(0,), (1,)],
    ),
    "null of a relation": (
        lambda: NOTES.filter(children__text__isnull=False).values_list("title"),
        [("t",)],
    ),
    "exists": (
        lambda: NOTES.filter(
            Exists(CHILDREN.filter(note=OuterRef("pk")).values("text"))
        ).values_list("title"),
        [("t",)],
    ),
    "selected": (lambda: NOTES.values_list("text", "data"), [("a", {"uid": "7"}), ("", None)]),
    "annotated": (lambda: NOTES.annotate(n=F("text")).values_list("n", flat=True), ["a", ""]),
    "over a relation": (lambda: CHILDREN.values_list("note__text", flat=True), ["a"]),
    "subquery": (
        lambda: NOTES.annotate(
            n=Subquery(CHILDREN.filter(note=OuterRef("pk")).values("text")[:1])
        ).values_list("n", flat=True),
        ["a", None],
    ),
    "subquery in another model": (
        lambda: Clinic.objects.annotate(n=TEXT).values_list("n", flat=True),
        ["a"],
    ),
    "null of a subquery": (
        lambda: Clinic.objects.annotate(n=TEXT).filter(n__isnull=False).values_list("name"),
        [("c",)],
    ),
    "count of a subquery": (
        lambda: [Clinic.objects.annotate(n=TEXT).aggregate(m=Count("n"))["m"]],
        [1],
    ),
    "grouped": (
        lambda: NOTES.annotate(n=Count("children")).values_list("text", "n"),
        [("a", 1), ("", 0)],
    ),
    "union": (
        lambda: sorted(ROWS.values_list("text").union(ROWS.values_list("text"), all=True)),
        [("",), ("",), ("a",), ("a",)],
    ),
    "ordered by others": (
        lambda: ROWS.order_by("-title", "children__pk", Lower("title")).values_list("text"),
        [("",), ("a",)],
    ),
    "random": (lambda: sorted(ROWS.order_by("?").values_list("text")), [("",), ("a",)]),
}


@pytest.mark.parametrize(("query", "rows"), ALLOWED.values(), ids=ALLOWED.keys())
def test_it_is_allowed(query, rows):
    assert list(query()) == rows


def test_updates_that_ask_for_null():
    NOTES.filter(data__isnull=True).update(title="none")
    NOTES.update(title=Case(When(text__isnull=False, then=Value("some")), default=F("title")))
    assert list(NOTES.values_list("title", flat=True)) == ["some", "some"]
    assert Declared.objects.filter(nullable__isnull=True).delete()[0] == 0


def test_the_error_says_what_to_do_and_shows_no_term():
    with pytest.raises(FieldError) as caught:
        list(NOTES.filter(Exact(F("text"), "a" * 3 + "term")))
    assert str(caught.value).startswith("tests.Note.text is encrypted: ")
    assert "blind index" in str(caught.value)
    assert "term" not in str(caught.value)
    ours = []
    traceback = caught.tb
    while traceback:
        if "envelope_fields" in traceback.tb_frame.f_code.co_filename:
            ours.append(repr(traceback.tb_frame.f_locals))
        traceback = traceback.tb_next
    assert ours
    assert "aaaterm" not in "".join(ours)


# What `get_lookup` and `get_transform` give can be held, and asked what it is.
FIELD = Note._meta.get_field("text")


@pytest.mark.parametrize("name", ["exact", "icontains", "in", "no_such_lookup"])
def test_a_lookup_has_its_name(name):
    found = FIELD.get_lookup(name)
    assert issubclass(found, Lookup)
    assert found.lookup_name == name
    with pytest.raises(FieldError, match=rf"tests\.Note\.text is encrypted: the lookup `{name}`"):
        found(FIELD.get_col("tests_note"), "a")


def test_a_transform_has_its_name():
    found = FIELD.get_transform("year")
    assert issubclass(found, Transform)
    assert found.lookup_name == "year"
    # It can be made: `values("text__year")` would have Django report its own error otherwise.
    made = found(FIELD.get_col("tests_note"))
    for asked in (
        lambda: made.get_lookup("exact"),
        lambda: made.get_transform("month"),
        lambda: made.resolve_expression(None),
        lambda: made.as_sql(None, None),
    ):
        with pytest.raises(FieldError, match=r"tests\.Note\.text is encrypted: `year`"):
            asked()
    with pytest.raises(FieldError, match=r"tests\.Note\.text is encrypted"):
        _ = made.output_field
