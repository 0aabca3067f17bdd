"""What keeps an encrypted field from taking the place of a column in clear."""

import pytest
from django.contrib.admin import ModelAdmin, site
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from envelope_fields.checks import views
from envelope_fields.fields import (
    EncryptedBigIntegerField,
    EncryptedDateField,
    EncryptedTextField,
    encrypted,
)
from envelope_fields.fields.legacy import FernetFields

pytestmark = pytest.mark.any_database


def declare(plain=None, field=None, **meta):
    class Visit(models.Model):
        day = models.DateField()
        text_clear = plain or models.TextField(null=True, db_column="text")
        text = field or EncryptedTextField(
            converts="text_clear", null=True, db_column="text_encrypted"
        )
        Meta = type("Meta", (), meta)

    return Visit


def converting(kind=EncryptedTextField, **options):
    return kind(**{"converts": "text_clear", "null": True, **options})


SOUND = {
    "text": (models.TextField(null=True), converting()),
    "email": (models.EmailField(null=True), converting()),
    "integer": (models.SmallIntegerField(null=True), converting(EncryptedBigIntegerField)),
    "any": (
        models.DurationField(null=True),
        encrypted(models.DurationField(null=True), converts="text_clear"),
    ),
    "another package's": (models.BinaryField(null=True), converting(legacy=[FernetFields()])),
    "key and row": (None, converting(key=str, bind_to=("day",))),
}

UNSOUND = {
    "none of the name": ({"field": converting(converts="report")}, "E095"),
    "no name": ({"field": converting(converts="")}, "E095"),
    "itself": ({"field": converting(converts="text")}, "E095"),
    "encrypted": ({"plain": EncryptedTextField(null=True)}, "E095"),
    "relation": ({"plain": models.ForeignKey("self", models.CASCADE, null=True)}, "E095"),
    "no format is a number": (
        {"plain": models.IntegerField(null=True), "field": converting(legacy=[FernetFields()])},
        "E096",
    ),
    "another type": ({"plain": models.IntegerField(null=True)}, "E096"),
    "date of a time": (
        {"plain": models.DateTimeField(null=True), "field": converting(EncryptedDateField)},
        "E096",
    ),
    "not null": ({"plain": models.TextField()}, "E097"),
    "new not null": ({"field": converting(null=False)}, "E097"),
    "unique": ({"plain": models.TextField(null=True, unique=True)}, "E098"),
    "unique for a day": ({"plain": models.TextField(null=True, unique_for_date="day")}, "E098"),
    "unique together": ({"unique_together": [("day", "text_clear")]}, "E098"),
    "database default": ({"plain": models.TextField(null=True, db_default="")}, "E098"),
    "unique constraint": (
        {"constraints": [models.UniqueConstraint("day", Lower("text_clear"), name="one")]},
        "E098",
    ),
    "condition": (
        {
            "constraints": [
                models.UniqueConstraint(
                    fields=["day"], condition=Q(~Q(text_clear__startswith="x")), name="two"
                )
            ]
        },
        "E098",
    ),
    "check": (
        {"constraints": [models.CheckConstraint(condition=Q(id__gt=F("text_clear")), name="c")]},
        "E098",
    ),
    "index": ({"plain": models.TextField(null=True, db_index=True)}, "W099"),
    "index of a model": (
        {"indexes": [models.Index(fields=["-text_clear", "day"], name="by_text")]},
        "W099",
    ),
    "index of an expression": ({"indexes": [models.Index(Lower("text_clear"), name="l")]}, "W099"),
}


OURS = {"E023", "E095", "E096", "E097", "E098", "W099", "W100"}


def ours(ids):
    return [
        number
        for number in ids()
        if number in {"E095", "E096", "E097", "E098", "W099", "E023", "W100"}
    ]


@pytest.mark.parametrize(("plain", "field"), SOUND.values(), ids=SOUND)
def test_a_sound_field_is_silent(plain, field, registry, ids):
    declare(plain and plain.clone(), field.clone())
    assert ours(ids) == []


@pytest.mark.parametrize(("declared", "number"), UNSOUND.values(), ids=UNSOUND)
def test_an_unsound_field_is_an_error(declared, number, registry, ids):
    fields = ("plain", "field")
    declare(**{name: each.clone() if name in fields else each for name, each in declared.items()})
    assert ours(ids) == [number]


def test_a_column_that_two_fields_convert(registry, ids):
    class Visit(models.Model):
        text_clear = models.TextField(null=True)
        text = converting()
        copy = converting()

    assert ours(ids) == ["E095", "E095"]


def test_a_column_of_a_parent_is_none_of_the_model(registry, ids):
    class Base(models.Model):
        text_clear = models.TextField(null=True)

    class Visit(Base):
        text = converting()

    assert ours(ids) == ["E095"]


def test_columns_of_an_abstract_model_are_its_own(registry, ids):
    class Base(models.Model):
        text_clear = models.TextField(null=True)
        text = converting()

        class Meta:
            abstract = True

    class Visit(Base):
        pass

    assert ours(ids) == []
    assert Visit._meta.get_field("text").plain_field is Visit._meta.get_field("text_clear")


@pytest.mark.parametrize("name", ["text", "text_clear"])
def test_what_goes_through_the_column_in_clear_is_a_warning(name, registry, ids):
    declare(ordering=[f"-{name}"], get_latest_by=name)
    assert ours(ids) == ["W100", "W100"]


class TestAdmin:
    @staticmethod
    def checked(**options):
        admin = type("VisitAdmin", (ModelAdmin,), options)(declare(), site)
        return [message.id.partition(".")[2] for message in views._check(admin)]

    def test_what_goes_through_the_column_in_clear_is_a_warning(self, registry):
        options = {"search_fields": ["text"], "list_filter": ["text"], "ordering": ["text"]}
        assert self.checked(**options) == ["W100"] * 3

    def test_what_computes_is_an_error(self, registry):
        assert self.checked(date_hierarchy="text") == ["E043"]
