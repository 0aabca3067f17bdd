"""What fields may be bound to, and what a declaration says of it."""

import uuid

import pytest
from django.contrib.postgres.fields import IntegerRangeField
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.migrations.writer import MigrationWriter
from django.db.models.functions import Now
from django.test.utils import isolate_apps

from envelope_fields.fields import EncryptedDateField, EncryptedTextField, encrypted
from envelope_fields.fields.prepared import Unencrypted

pytestmark = pytest.mark.any_database


def declared(bind_to=("column",), column=None, **options):
    """Return the encrypted field of a model whose other column is given."""
    other = column or models.IntegerField()
    with isolate_apps("tests"):

        class Other(models.Model):
            class Meta:
                app_label = "tests"

        class Row(models.Model):
            key = models.UUIDField(primary_key=True, default=uuid.uuid4)
            column = other
            text = EncryptedTextField(bind_to=bind_to, **options)

            class Meta:
                app_label = "tests"

    return Row._meta.get_field("text")


def found(field):
    return [(each.id, each.msg, each.hint) for each in field.check()]


ALLOWED = [
    models.IntegerField(),
    models.PositiveBigIntegerField(null=True),
    models.CharField(max_length=5),
    models.EmailField(),
    models.TextField(),
    models.UUIDField(),
    models.DateField(),
    models.ForeignKey("tests.Other", models.CASCADE),
]
REFUSED = {
    "decimal": (models.DecimalField(max_digits=5, decimal_places=1), "an integer, a text, a UUID"),
    "float": (models.FloatField(), "an integer, a text, a UUID"),
    "datetime": (models.DateTimeField(), "an integer, a text, a UUID"),
    "time": (models.TimeField(), "an integer, a text, a UUID"),
    "boolean": (models.BooleanField(), "an integer, a text, a UUID"),
    "json": (models.JSONField(), "an integer, a text, a UUID"),
    "binary": (models.BinaryField(), "an integer, a text, a UUID"),
    "range": (IntegerRangeField(), "an integer, a text, a UUID"),
    "encrypted": (EncryptedDateField(), "a plain column"),
    "generated": (
        models.GeneratedField(
            expression=models.F("key"), output_field=models.UUIDField(), db_persist=True
        ),
        "The database makes its value",
    ),
    "db_default": (models.DateField(db_default=Now()), "The database makes its value"),
    "auto_now": (models.DateField(auto_now=True), "made while the row is saved"),
    "auto_now_add": (models.DateField(auto_now_add=True), "made while the row is saved"),
}


@pytest.mark.parametrize("column", ALLOWED, ids=lambda each: type(each).__name__)
def test_columns_that_are_allowed(column):
    assert found(declared(column=column.clone())) == []


@pytest.mark.parametrize("what", REFUSED)
def test_columns_that_are_refused(what):
    column, way_out = REFUSED[what]
    field = declared(column=column.clone())
    ((number, wrong, hint),) = found(field)
    assert (number, way_out in hint) == ("envelope_fields.E027", True)
    assert "tests.Row.column" in wrong
    with pytest.raises(ImproperlyConfigured, match="cannot be bound"):
        field.writer(Unencrypted("x", field.model()), "default")


def test_a_key_that_the_database_makes():
    with isolate_apps("tests"):

        class Row(models.Model):
            text = EncryptedTextField(bind_to=("id",))

            class Meta:
                app_label = "tests"

        class Child(Row):
            more = EncryptedTextField(bind_to=("row_ptr",))
            other = EncryptedTextField(bind_to=("id",))

            class Meta:
                app_label = "tests"

    ((number, _, hint),) = found(Row._meta.get_field("text"))
    assert (number, "UUIDField(primary_key=True, default=uuid.uuid4)" in hint) == (
        "envelope_fields.E027",
        True,
    )
    assert found(Child._meta.get_field("more")) == []  # it is known when the child is written
    ((number, _, hint),) = found(Child._meta.get_field("other"))
    assert (number, "the link to the parent" in hint) == ("envelope_fields.E027", True)


def test_names_of_no_column():
    for names in (["none"], ["pk"], [3], ["column__x"]):
        ((number, wrong, _),) = found(declared(names))
        assert (number, "has no column" in wrong) == ("envelope_fields.E027", True)


def test_bindings_of_before():
    assert found(declared(previous_bindings=[(), ("key",), (("earlier", "column"), "key")])) == []
    ((number, _, hint),) = found(declared(previous_bindings=[("column",)]))
    assert (number, "Remove it" in hint) == ("envelope_fields.E028", True)
    ((number, wrong, _),) = found(declared(previous_bindings=[("gone",)]))
    assert (number, "'gone'" in wrong) == ("envelope_fields.E027", True)


def test_a_copy_is_bound_to_the_same(monkeypatch):
    with isolate_apps("tests"):

        class Row(models.Model):
            number = models.IntegerField()
            text = EncryptedTextField(bind_to=("number",))

            class Meta:
                app_label = "tests"

        class Copy(models.Model):
            number = models.IntegerField()
            text = EncryptedTextField(copy_of="tests.Row.text")
            same = EncryptedTextField(copy_of="tests.Row.text", bind_to=["number"])

            class Meta:
                app_label = "tests"

        ((number, _, hint),) = found(Copy._meta.get_field("text"))
        assert (number, "bind_to" in hint) == ("envelope_fields.E028", True)
        assert found(Copy._meta.get_field("same")) == []

        monkeypatch.setattr(Row._meta.get_field("text"), "previous_bindings", ((),))
        ((number, wrong, _),) = found(Copy._meta.get_field("same"))
        assert (number, "previous_bindings" in wrong) == ("envelope_fields.E028", True)
        monkeypatch.setattr(Copy._meta.get_field("same"), "previous_bindings", ((),))
        assert found(Copy._meta.get_field("same")) == []


@pytest.mark.skipif("not hasattr(models, 'DB_SET_NULL')")
@pytest.mark.parametrize("action", ["DB_SET_NULL", "DB_SET_DEFAULT", "DB_CASCADE"])
def test_what_the_database_writes_by_itself(action):
    column = models.ForeignKey("tests.Other", getattr(models, action), null=True, db_default=None)
    field = declared(
        column=column
        if action == "DB_SET_DEFAULT"
        else models.ForeignKey("tests.Other", getattr(models, action), null=True)
    )
    numbers = [number for number, *_ in found(field)]
    assert ("envelope_fields.E029" in numbers) is (action != "DB_CASCADE")


def test_migrations_have_it():
    field = declared(["column", "key"], previous_bindings=[[], ["key", ["was", "column"]]])
    _, _, _, kwargs = field.deconstruct()
    assert kwargs == {
        "bind_to": ("column", "key"),
        "previous_bindings": ((), ("key", ("was", "column"))),
    }
    text, _ = MigrationWriter.serialize(field)
    assert "bind_to=('column', 'key')" in text
    made = encrypted(models.DateField(), bind_to="column", previous_bindings=[()])
    _, _, _, kwargs = made.deconstruct()
    assert kwargs == {"bind_to": ("column",), "previous_bindings": ((),)}
    assert {"bind_to", "previous_bindings"} <= set(made.non_db_attrs)
