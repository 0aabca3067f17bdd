"""What is wrong with declarations of blind indexes, and with what refers to them."""

from types import SimpleNamespace

import pytest
from django.db import models
from django.test.utils import isolate_apps

from envelope_fields.checks.indexes import check_indexes
from envelope_fields.checks.models import check_models
from envelope_fields.fields import (
    BlindIndexField,
    EncryptedBooleanField,
    EncryptedDateField,
    EncryptedEmailField,
    EncryptedIntegerField,
    EncryptedJSONField,
    EncryptedTextField,
    IndexedUnique,
    encrypted,
)
from envelope_fields.tenants import TenantKey


class SluggedField(models.CharField):
    def pre_save(self, model_instance, add):
        return "computed"


def model_with(meta=None, **fields):
    body = {
        "__module__": __name__,
        "Meta": type("Meta", (), {"app_label": "tests", **(meta or {})}),
        "email": EncryptedEmailField(),
        "born": EncryptedDateField(null=True),
        "record": EncryptedJSONField(default=dict),
        "size": EncryptedIntegerField(null=True),
        "title": models.CharField(max_length=9),
        "note": EncryptedTextField(bind_to=("title",)),
        **fields,
    }
    return type("Indexed", (models.Model,), body)


def ids(messages):
    return [each.id.rpartition(".")[2] for each in messages]


def checked(*classes):
    app = SimpleNamespace(get_models=lambda: list(classes), apps=None)
    return ids([*check_models([app]), *check_indexes([app])])


@isolate_apps("tests")
@pytest.mark.parametrize(
    ("index", "found"),
    [
        (BlindIndexField("email"), []),
        (BlindIndexField("email", "born", unique=True), []),
        (BlindIndexField("record__mrn", normalizer="digits"), []),
        (BlindIndexField("born", normalizer="year"), []),
        (BlindIndexField("size"), []),
        (BlindIndexField(), ["E080"]),
        (BlindIndexField("email", "email"), ["E080"]),
        (BlindIndexField("nothing"), ["E080"]),
        (BlindIndexField("title"), ["E080"]),
        (BlindIndexField("record"), ["E080"]),
        (BlindIndexField("email__host"), ["E080"]),
        (BlindIndexField("email", normalizer="soundex"), ["E081"]),
        (BlindIndexField("size", normalizer="digits"), ["E081"]),
        (BlindIndexField("email", normalizer="year"), ["E081"]),
        (BlindIndexField("email", "born", normalizer="domain"), ["E081"]),
        (BlindIndexField("email", normalizer="domain", unique=True), ["E083"]),
        (BlindIndexField("email", replaces="other"), ["E083"]),
        (BlindIndexField("email", scope=("title",)), ["E087"]),
        (BlindIndexField("email", scope=("nothing",)), ["E087"]),
        (BlindIndexField("email", key=TenantKey("search/{title}")), ["E087"]),
        (BlindIndexField("note", scope=("title",)), []),
        (BlindIndexField("note", scope=("title",), key=TenantKey("search/{title}")), []),
        (BlindIndexField("note", scope=("title",), shared="s"), ["E087"]),
        (BlindIndexField("note", scope=("title",), key=TenantKey("search/{name}")), ["E087"]),
        (BlindIndexField("email", key=None), ["E016"]),
        (BlindIndexField("email", key=""), ["E016"]),
        (BlindIndexField("email", key=7), ["E016"]),
    ],
)
def test_an_index(index, found):
    assert ids(model_with(index=index)._meta.get_field("index").check()) == found


def test_fields_are_named_one_by_one():
    with pytest.raises(TypeError, match='BlindIndexField\\("last_name", "born"\\)'):
        BlindIndexField(["email", "born"])


@isolate_apps("tests")
@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (BlindIndexField("email"), BlindIndexField("email", replaces="first"), []),
        (
            BlindIndexField("email", normalizer="domain"),
            BlindIndexField("email", replaces="first"),
            ["E083"],
        ),
        (
            BlindIndexField("email", "born"),
            BlindIndexField("born", "email", replaces="first"),
            ["E083"],
        ),
        (
            BlindIndexField("note"),
            BlindIndexField("note", scope=("title",), replaces="first"),
            ["E083"],
        ),
        (
            BlindIndexField("email", shared="s"),
            BlindIndexField("email", shared="s", replaces="first"),
            ["E083"],
        ),
        (
            BlindIndexField("email", shared="s"),
            BlindIndexField("email", shared="t", replaces="first"),
            [],
        ),
        (
            BlindIndexField("email", replaces="second"),
            BlindIndexField("email", replaces="first"),
            ["E083"],
        ),
        (BlindIndexField("email"), BlindIndexField("email", replaces="second"), ["E083"]),
    ],
)
def test_an_index_that_replaces_another(first, second, found):
    model = model_with(first=first, second=second)
    assert ids(model._meta.get_field("second").check()) == found


@isolate_apps("tests")
def test_one_is_replaced_by_one():
    model = model_with(
        first=BlindIndexField("email"),
        second=BlindIndexField("email", replaces="first"),
        third=BlindIndexField("email", replaces="first"),
    )
    assert ids(model._meta.get_field("third").check()) == ["E083"]


@isolate_apps("tests")
@pytest.mark.parametrize(
    ("constraints", "unique", "found"),
    [
        ([], True, []),
        ([], False, ["E083"]),
        ([IndexedUnique(fields=["title", "email"], name="a")], True, ["E083"]),
        (
            [
                IndexedUnique(fields=["title", "email"], name="a"),
                IndexedUnique(fields=["title", "second"], name="b"),
            ],
            True,
            [],
        ),
        (
            [
                IndexedUnique(fields=["title", "email"], name="a"),
                IndexedUnique(fields=["title", "second"], name="b", condition=models.Q(title="")),
            ],
            True,
            ["E083"],
        ),
    ],
)
def test_what_is_kept_unique_while_an_index_is_replaced(constraints, unique, found):
    model = model_with(
        {"constraints": constraints},
        first=BlindIndexField("email", unique=True),
        second=BlindIndexField("email", unique=unique, replaces="first"),
    )
    assert checked(model) == found


@isolate_apps("tests")
@pytest.mark.parametrize(
    "value",
    [
        EncryptedDateField(auto_now=True),
        EncryptedDateField(auto_now_add=True),
        encrypted(SluggedField(max_length=9)),
        EncryptedTextField(),
    ],
)
def test_values_may_be_made_while_saving(value):
    model = model_with(value=value, index=BlindIndexField("value"))
    assert not model._meta.get_field("index").check()


@isolate_apps("tests")
@pytest.mark.parametrize(
    ("value", "index", "found"),
    [
        (EncryptedBooleanField(), BlindIndexField("value"), ["W088"]),
        (EncryptedTextField(choices=[("a", "A"), ("b", "B")]), BlindIndexField("value"), ["W088"]),
        (EncryptedTextField(choices=[("a", "A")]), BlindIndexField("value", "email"), []),
        (EncryptedTextField(), BlindIndexField("value"), []),
    ],
)
def test_few_values(value, index, found):
    assert ids(model_with(value=value, index=index)._meta.get_field("index").check()) == found


@isolate_apps("tests")
def test_a_field_of_a_parent():
    class Parent(models.Model):
        email = EncryptedEmailField()

        class Meta:
            app_label = "tests"

    class Child(Parent):
        index = BlindIndexField("email")

        class Meta:
            app_label = "tests"

    assert ids(Child._meta.get_field("index").check()) == ["E080"]


@isolate_apps("tests")
@pytest.mark.parametrize(
    ("meta", "found"),
    [
        ({"constraints": [IndexedUnique(fields=["email", "title"], name="a")]}, []),
        ({"constraints": [IndexedUnique(fields=["email_index"], name="a")]}, []),
        ({"constraints": [IndexedUnique(fields=["born"], name="a")]}, ["E085"]),
        ({"constraints": [IndexedUnique(fields=["x"], name="a")]}, ["E085"]),
        ({"constraints": [IndexedUnique(fields=["title", "born_year"], name="a")]}, ["E085"]),
        ({"constraints": [models.UniqueConstraint(fields=["email"], name="a")]}, ["E021"]),
        ({"constraints": [models.UniqueConstraint(fields=["email_index"], name="a")]}, ["E084"]),
        ({"unique_together": [("title", "email_index")]}, ["E084"]),
        ({"unique_together": [("title", "email")]}, ["E022"]),
        (
            {
                "constraints": [
                    IndexedUnique(fields=["title"], condition=models.Q(email="x"), name="a")
                ]
            },
            ["E021"],
        ),
    ],
)
def test_constraints(meta, found):
    year = BlindIndexField("born", normalizer="year")
    model = model_with(meta, email_index=BlindIndexField("email"), born_year=year)
    assert checked(model) == found


@isolate_apps("tests")
@pytest.mark.parametrize("name", ["email", "email_index"])
def test_relations(name):
    model = model_with(email_index=BlindIndexField("email", unique=True))

    class Related(models.Model):
        to = models.ForeignKey(model, models.CASCADE, to_field=name)

        class Meta:
            app_label = "tests"

    assert checked(Related) == ["E086"]
