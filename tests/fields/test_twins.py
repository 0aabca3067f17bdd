"""What TextField and JSONField do, and encrypted fields do the same: each case is run on both."""

import copy
import pickle
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import (
    Case,
    Count,
    Exists,
    F,
    FilteredRelation,
    JSONField,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.functions import Lower, RowNumber
from django.db.models.lookups import IsNull
from django.forms import inlineformset_factory, model_to_dict, modelform_factory
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from rest_framework.serializers import ModelSerializer

from tests.models.twins import ENCRYPTED, PLAIN, Grade

pytestmark = pytest.mark.django_db


def populate(twin):
    a = twin.topic.objects.create(name="a", number=1, text="alpha", data={"k": [1, {"n": None}]})
    b = twin.topic.objects.create(name="b", number=2, maybe="", data=[], maybe_data=0)
    twin.topic.objects.create(name="c", number=3, text="gämma\n", maybe="m", maybe_data={"x": 1.5})
    twin.reply.objects.create(topic=a, by_name=a, text="first")
    twin.reply.objects.create(topic=a, text="second")
    twin.reply.objects.create(topic=b, by_name=a)
    twin.tag.objects.create(label="tag").topics.add(a, b, through_defaults={"why": "because"})
    twin.derived.objects.create(name="d", extra=[1])
    twin.deepest.objects.create(name="e", secret="of the deepest", deep="deep")
    return twin


def outcome(case, twin):
    """Return what a case returns, or the name of what it raises, and what is stored after it."""
    populate(twin)
    try:
        with transaction.atomic():
            result = case(twin)
    except ValidationError as error:
        result = error.message_dict
    except Exception as error:
        result = type(error).__name__
    names = ("name", "number", "text", "maybe", "short", "grade", "data", "maybe_data")
    topics = list(twin.topic.objects.order_by("name").values_list(*names))
    replies = list(twin.reply.objects.order_by("pk").values_list("text", flat=True))
    return result, topics, replies, list(twin.deepest.objects.values("secret", "extra", "deep"))


def anonymous(result):
    """Return what is shown of a result, but for the names of the models and constraints."""
    names = re.sub("encrypted|plain", "twin", repr(result), flags=re.IGNORECASE)
    ours = r"<envelope_fields\.fields\.validation\.Validator object>"
    return re.sub(rf", validators=\[{ours}\]|, {ours}", "", names)


def topics(twin):
    return twin.topic.objects.order_by("number")


def texts(rows):
    return [row.text for row in rows]


def first_reply(twin, name="text"):
    replies = twin.reply.objects.filter(topic=OuterRef("pk")).order_by("pk")
    return Subquery(replies.values(name)[:1])


def replies_with_topic(twin):
    """Return what a prefetch of annotated and deferred replies leaves on each topic."""
    replies = twin.reply.objects.annotate(of=F("topic__text")).only("text", "topic").order_by("pk")
    found = topics(twin).prefetch_related(Prefetch("replies", replies, to_attr="found"))
    return [[(reply.text, reply.of) for reply in topic.found] for topic in found]


def refreshed(twin):
    topic = topics(twin).defer("text", "data").first()
    before = sorted(topic.get_deferred_fields())
    topic.refresh_from_db(fields=["text"])
    text = topic.text
    topic.refresh_from_db(from_queryset=twin.topic.objects.select_for_update())
    return before, text, topic.data


READS = {
    "values": lambda twin: list(topics(twin).values("text", "maybe", "data", "maybe_data")),
    "named values": lambda twin: tuple(topics(twin).values_list("text", "data", named=True)[0]),
    "values under other names": lambda twin: list(
        topics(twin).values(t=F("text"), n=Lower("name"))
    ),
    "in_bulk": lambda twin: twin.topic.objects.in_bulk(["a"], field_name="name")["a"].data,
    "to_field": lambda twin: texts(twin.reply.objects.filter(by_name="a").order_by("pk")),
    "select_related": lambda twin: [
        (reply.topic.text, reply.by_name and reply.by_name.data)
        for reply in twin.reply.objects.select_related("topic", "by_name").order_by("pk")
    ],
    "only through a relation": lambda twin: [
        (reply.text, reply.topic.text, reply.topic.data)
        for reply in twin.reply.objects.select_related("topic")
        .only("text", "topic__text")
        .order_by("pk")
    ],
    "Prefetch": replies_with_topic,
    "refresh_from_db": refreshed,
    "raw": lambda twin: texts(
        twin.topic.objects.raw(
            f"SELECT id, text AS t FROM {twin.topic._meta.db_table} ORDER BY id",
            translations={"t": "text"},
        )
    ),
    "alias": lambda twin: list(
        topics(twin).alias(t=F("text")).annotate(u=F("t")).values_list("u", flat=True)
    ),
    "isnull of an alias": lambda twin: texts(
        topics(twin).alias(m=F("maybe")).filter(m__isnull=True)
    ),
    "isnull through a relation": lambda twin: texts(
        twin.reply.objects.filter(topic__maybe__isnull=True).order_by("pk")
    ),
    "isnull in Case": lambda twin: list(
        topics(twin)
        .annotate(has=Case(When(maybe__isnull=True, then=Value("no")), default=Value("yes")))
        .values_list("has", flat=True)
    ),
    "isnull in an order": lambda twin: texts(
        twin.topic.objects.order_by(IsNull(F("maybe"), True), "number")
    ),
    "None": lambda twin: texts(topics(twin).filter(maybe=None)),
    "combined": lambda twin: texts(
        topics(twin).filter(number=1) | topics(twin).filter(maybe__isnull=False)
    ),
    "union": lambda twin: sorted(
        twin.topic.objects.filter(number=1)
        .values_list("text", flat=True)
        .union(twin.topic.objects.filter(number=2).values_list("text", flat=True), all=True)
    ),
    "ordered union": lambda twin: list(
        twin.topic.objects.values_list("number", "text")
        .union(twin.topic.objects.values_list("number", "text"), all=True)
        .order_by("number")
    ),
    "union of objects": lambda twin: sorted(
        texts(twin.topic.objects.filter(number=1).union(twin.topic.objects.filter(number=3)))
    ),
    "intersection": lambda twin: texts(
        twin.topic.objects.all().intersection(twin.topic.objects.filter(number=1))
    ),
    "difference": lambda twin: texts(
        twin.topic.objects.all().difference(twin.topic.objects.filter(number__gt=1))
    ),
    "Subquery": lambda twin: list(
        topics(twin).annotate(r=first_reply(twin)).values_list("r", flat=True)
    ),
    "Subquery in a Subquery": lambda twin: list(
        twin.reply.objects.annotate(
            r=Subquery(
                twin.topic.objects.filter(pk=OuterRef("topic"))
                .annotate(r=first_reply(twin))
                .values("r")
            )
        )
        .order_by("pk")
        .values_list("r", flat=True)
    ),
    "isnull of a Subquery": lambda twin: texts(
        topics(twin).annotate(r=first_reply(twin)).filter(r__isnull=True)
    ),
    "OuterRef": lambda twin: list(
        twin.topic.objects.annotate(
            same=Subquery(
                twin.topic.objects.filter(pk=OuterRef("pk"))
                .annotate(outer=OuterRef("text"))
                .values("outer")
            )
        )
        .order_by("number")
        .values_list("same", flat=True)
    ),
    "Exists": lambda twin: texts(
        topics(twin).filter(Exists(twin.reply.objects.filter(topic=OuterRef("pk"))))
    ),
    "FilteredRelation": lambda twin: list(
        topics(twin)
        .annotate(r=FilteredRelation("replies", condition=Q(replies__text__isnull=False)))
        .order_by("number", "r__pk")
        .values_list("r__text", flat=True)
    ),
    "Window": lambda twin: texts(
        topics(twin).annotate(row=Window(RowNumber(), order_by="number")).filter(row__lte=2)
    ),
    "Count": lambda twin: twin.topic.objects.aggregate(
        Count("maybe"), Count("maybe_data"), some=Count("pk", filter=Q(maybe__isnull=False))
    ),
    "Count through a relation": lambda twin: [
        (topic.count, topic.text)
        for topic in topics(twin).annotate(count=Count("replies__text")).order_by("number")
    ],
    "aggregate over a slice": lambda twin: topics(twin)[:2].aggregate(Sum("number"), Count("text")),
    "count of annotated rows": lambda twin: topics(twin).annotate(t=F("text")).count(),
    "iterator with a prefetch": lambda twin: [
        sorted(texts(topic.replies.all()))
        for topic in topics(twin).prefetch_related("replies").iterator(chunk_size=2)
    ],
    "many to many": lambda twin: sorted(
        twin.tagged.objects.values_list("why", "topic__text", "tag__label")
    ),
    "inherited": lambda twin: [
        (row.secret, row.extra) for row in twin.derived.objects.order_by("name")
    ],
    "inherited, deferred": lambda twin: [
        (row.secret, row.extra, row.deep) for row in twin.deepest.objects.only("deep")
    ],
    "next in order": lambda twin: twin.reply.objects.earliest("pk").get_next_in_order().text,
    "explain": lambda twin: bool(topics(twin).filter(text__isnull=True).explain()),
    "pickled queryset": lambda twin: texts(pickle.loads(pickle.dumps(topics(twin)))),
    "deep copy": lambda twin: copy.deepcopy(topics(twin)[0]).data,
}


def upsert(twin):
    """Insert one topic, and write into another that has the same name."""
    matched = {"unique_fields": ["name"]}
    twin.topic.objects.bulk_create(
        [twin.topic(name="a", text="upserted", data={"u": 1}), twin.topic(name="z", text="new")],
        update_conflicts=True,
        update_fields=["text", "data", "maybe_data"],
        **(matched if connection.features.supports_update_conflicts_with_target else {}),
    )


def bulk_update(twin):
    rows = list(topics(twin))
    for row in rows:
        row.text += "!"
        row.maybe = None if row.number % 2 else "even"
        row.maybe_data = {"n": row.number} if row.number % 2 else None
        row.number = F("number") + 10
    return twin.topic.objects.bulk_update(
        rows, ["text", "maybe", "maybe_data", "number"], batch_size=2
    )


def saved(twin, name="a", **values):
    """Save a topic with these values, and return what it has then."""
    topic = twin.topic.objects.get(name=name)
    for attribute, value in values.items():
        setattr(topic, attribute, value)
    topic.save()
    return [getattr(topic, attribute) for attribute in values]


def copied(twin):
    topic = topics(twin)[0]
    topic.pk, topic.name, topic._state.adding = None, "copy", True
    topic.save()


def inherited(twin):
    row = twin.deepest.objects.get()
    row.secret, row.extra = "saved", {"s": 0}
    row.save()
    twin.deepest.objects.update(deep="updated")
    twin.deepest.objects.bulk_update([row], ["secret"])


WRITES = {
    "update": lambda twin: twin.topic.objects.filter(maybe__isnull=True).update(
        text="updated", number=F("number") + 10, maybe=None, maybe_data=[None]
    ),
    "update of other types": lambda twin: twin.topic.objects.update(text=5, maybe=True),
    "update through a relation": lambda twin: twin.reply.objects.filter(topic__number=1).update(
        text="updated"
    ),
    "update of related objects": lambda twin: topics(twin)[0].replies.update(text="updated"),
    "bulk_update": bulk_update,
    "upsert": upsert,
    "ignored conflicts": lambda twin: len(
        twin.topic.objects.bulk_create(
            [twin.topic(name="a", text="ignored"), twin.topic(name="z", text="new")],
            ignore_conflicts=True,
            batch_size=1,
        )
    ),
    "update_or_create, there": lambda twin: twin.topic.objects.update_or_create(
        name="a", defaults={"text": "updated"}, create_defaults={"text": "created"}
    )[1],
    "update_or_create, not there": lambda twin: twin.topic.objects.update_or_create(
        name="z", defaults={"text": "updated"}, create_defaults={"text": "created"}
    )[1],
    "get_or_create with a callable": lambda twin: (
        twin.topic.objects.get_or_create(name="z", defaults={"text": lambda: "called"})[0].text
    ),
    "related get_or_create": lambda twin: topics(twin)[0].replies.get_or_create(
        pk=10**6, defaults={"text": "new"}
    )[1],
    "update_fields": lambda twin: twin.topic(
        pk=topics(twin)[0].pk, name="x", text="saved", data="not saved"
    ).save(update_fields=["text"]),
    "force_insert": lambda twin: twin.topic(pk=10**6, name="z", text="t").save(force_insert=True),
    "force_update": lambda twin: twin.topic(pk=10**6, text="t").save(force_update=True),
    "a copy": copied,
    "inherited": inherited,
    "not null": lambda twin: twin.topic.objects.create(name="z", text=None),
    "JSON not null": lambda twin: twin.topic.objects.create(name="z", data=None),
    "JSON null": lambda twin: (
        saved(twin, maybe_data=Value(None, JSONField()))
        and (twin.topic.objects.filter(name="a", maybe_data__isnull=True).exists())
    ),
    "a constraint": lambda twin: twin.topic.objects.create(name="z", number=100),
    "a unique constraint": lambda twin: (
        twin.topic.objects.create(name="z", number=2, maybe="x").text
    ),
    "delete": lambda twin: twin.topic.objects.filter(maybe__isnull=True).delete()[0],
}

VALUES = {
    "text": [
        "", "0", "é𝄞", "x" * 100_000, 5, False, ["a"], UUID(int=3), gettext_lazy("Yes"),
        mark_safe("<b>"), Grade.BAD,
    ],
    "maybe_data": [
        None, 0, False, "", [], {}, 1.5, 10**15, "é𝄞", {"a": {"b": [None]}}, (1, 2), {1: "a"},
        Decimal("1.10"), UUID(int=3), date(2024, 2, 29), datetime(2024, 2, 29, tzinfo=UTC),
    ],
    "data": [Decimal("1.10"), {1, 2}, object()],
}  # fmt: skip

CLEANED = [
    {}, {"short": "123456"}, {"short": "x"}, {"grade": "z"}, {"text": None}, {"maybe": None},
    {"maybe": ""}, {"data": {1}}, {"data": None}, {"number": 100}, {"number": 100, "maybe": ""},
    {"number": 2, "maybe": "x"}, {"number": -1, "maybe_data": {}}, {"name": "a"},
]  # fmt: skip


@pytest.mark.parametrize("case", READS.values(), ids=READS.keys())
def test_reading(case):
    assert outcome(case, ENCRYPTED) == outcome(case, PLAIN)


@pytest.mark.parametrize("case", WRITES.values(), ids=WRITES.keys())
def test_writing(case):
    assert outcome(case, ENCRYPTED) == outcome(case, PLAIN)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in VALUES.items() for value in values]
)
def test_a_value_that_is_saved(name, value):
    def case(twin):
        return saved(twin, **{name: value})

    ours, plain = outcome(case, ENCRYPTED), outcome(case, PLAIN)
    assert ours == plain
    assert repr(ours[1:]) == repr(plain[1:])  # of the same types


@pytest.mark.parametrize("values", CLEANED, ids=repr)
def test_full_clean(values):
    def case(twin):
        topic = twin.topic(**{"name": "z", **values})
        topic.full_clean()
        topic.save()

    ours, plain = (repr(outcome(case, twin)) for twin in (ENCRYPTED, PLAIN))
    assert (
        ours.replace("ncrypted", "lain").replace("Elain", "Plain").replace("elain", "plain")
        == plain
    )


def form(twin, posted=None, **options):
    names = ["name", "number", "text", "maybe", "short", "grade", "data", "maybe_data"]
    return modelform_factory(twin.topic, fields=names)(posted, **options)


POSTED = {"name": "a", "number": "1", "text": "alpha", "grade": "g", "data": '{"k": [1]}'}


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"text": " stripped "}, {"text": "nul\0"}, {"maybe": ""}, {"short": "123456"},
        {"grade": "z"}, {"data": "{"}, {"data": "{} "}, {"maybe_data": "0"}, {"maybe_data": '""'},
        {"maybe_data": "null"},
    ],
    ids=repr,
)  # fmt: skip
def test_forms(changes):
    def case(twin):
        bound = form(twin, {**POSTED, **changes}, instance=twin.topic.objects.get(name="a"))
        if bound.is_valid():
            bound.save()
        return bound.as_p(), bound.errors.as_json(), sorted(bound.changed_data)

    assert outcome(case, ENCRYPTED) == outcome(case, PLAIN)


def test_inline_forms():
    def case(twin):
        topic = topics(twin)[0]
        formset = inlineformset_factory(
            twin.topic, twin.reply, fk_name="topic", fields=["text"], extra=1, can_order=False
        )
        ids = list(topic.replies.order_by("pk").values_list("pk", flat=True))
        posted = {"replies-TOTAL_FORMS": "3", "replies-INITIAL_FORMS": "2"}
        for row, text in enumerate(["changed", "second", "new"]):
            posted |= {f"replies-{row}-text": text, f"replies-{row}-id": (*ids, "")[row]}
        bound = formset(posted, instance=topic, queryset=topic.replies.order_by("pk"))
        bound.save()
        return len(bound.new_objects), len(bound.changed_objects)

    ours = outcome(case, ENCRYPTED)
    assert ours == outcome(case, PLAIN)
    assert ours[0] == (1, 1)


def test_serializers_and_dictionaries():
    def case(twin):
        class TopicSerializer(ModelSerializer):
            class Meta:
                model = twin.topic
                exclude = ["id"]

        topic = topics(twin)[0]
        valid = TopicSerializer(data={"name": "z", "short": "x", "grade": "z", "data": 0})
        return (
            repr(TopicSerializer()),
            TopicSerializer(topic).data,
            (valid.is_valid(), valid.errors),
            model_to_dict(topic, exclude=["id"]),
            [topic.get_grade_display(), twin.topic(grade="?").get_grade_display()],
        )

    ours, plain = (outcome(case, twin) for twin in (ENCRYPTED, PLAIN))
    assert anonymous(ours[0][0]) == anonymous(plain[0][0])
    assert ours[0][1:] == plain[0][1:]


@pytest.mark.parametrize("case", READS.values(), ids=READS.keys())
def test_every_case_of_reading_has_an_answer(case):
    """Two errors are the same as well."""
    case(populate(ENCRYPTED))
