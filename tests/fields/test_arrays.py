"""Encrypted arrays. The column is one of bytes, so every database has them."""

from datetime import date
from decimal import Decimal

import pytest

pytest.importorskip("psycopg")

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import FieldError, ValidationError
from django.db import connection, models
from django.db.migrations.writer import MigrationWriter
from django.forms import modelform_factory
from django.test.utils import isolate_apps
from rest_framework import serializers

from envelope_fields import fields
from envelope_fields.fields import EncryptedArrayField, encrypted
from tests.stored import stored

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def chart():
    with isolate_apps("tests"):

        class Listed(models.Model):
            words = EncryptedArrayField(models.CharField(max_length=5), default=list, size=3)
            days = EncryptedArrayField(models.DateField(), null=True, blank=True)
            doses = EncryptedArrayField(
                ArrayField(models.DecimalField(max_digits=5, decimal_places=2)),
                null=True,
                blank=True,
            )

            class Meta:
                app_label = "tests"

        return Listed


@pytest.fixture(autouse=True)
def table(chart):
    with connection.schema_editor() as editor:
        editor.create_model(chart)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(chart)


@pytest.mark.parametrize("words", [[], [""], ["a", None], [None], ["Zoë", "\0", "0"]])
def test_lists(chart, words):
    made = chart.objects.create(words=words, days=[date(1, 1, 1), None])
    assert stored(made, "words")[:1] == b"\x01"
    found = chart.objects.get()
    assert (found.words, found.days, found.doses) == (words, [date(1, 1, 1), None], None)
    assert stored(found, "doses") is None
    chart.objects.update(words=("x",), doses=[["1", Decimal("2.5")], []])
    found = chart.objects.values("words", "doses").get()
    assert found == {"words": ["x"], "doses": [[Decimal("1.00"), Decimal("2.50")], []]}
    assert str(found["doses"][0][1]) == "2.50"


@pytest.mark.parametrize(
    ("base", "items", "found"),
    [
        (models.GenericIPAddressField(), ["", "10.0.0.1", None], [None, "10.0.0.1", None]),
        (models.BooleanField(null=True), ["", "t", []], [None, True, None]),
        (models.CharField(), ["", None], ["", None]),
    ],
    ids=["address", "boolean", "text"],
)
def test_items_that_are_left_empty(base, items, found):
    """As in an `ArrayField`."""
    for field in (EncryptedArrayField(base), EncryptedArrayField(ArrayField(base))):
        is_nested = isinstance(field.base_field, ArrayField)
        read = field.from_plaintext(field.to_plaintext([items] if is_nested else items))
        assert read == ([found] if is_nested else found)


@pytest.mark.parametrize("value", ["s3cret", 5, [["s3cret"]], {"s3cret": 1}.items()])
def test_what_is_no_list_is_not_stored_nor_shown(chart, value):
    with pytest.raises(ValueError, match=r"^tests\.Listed\.days: ") as caught:
        chart.objects.create(days=value)
    error = caught.value
    while error is not None:
        assert "s3cret" not in repr(error)
        error = error.__cause__ or error.__context__


def test_nothing_is_found_in_them(chart):
    chart.objects.create(words=["a"])
    for lookup in ("words", "words__contains", "words__0", "words__len", "words__overlap"):
        with pytest.raises(FieldError):
            chart.objects.filter(**{lookup: ["a"]}).exists()


def test_forms_and_serializers(chart):
    kind = modelform_factory(chart, fields=["words", "days"])
    form = kind({"words": "a,b", "days": "2024-02-29"})
    assert form.is_valid(), form.errors
    assert form.save().words == ["a", "b"]
    assert 'value="a,b"' in kind(instance=chart.objects.get()).as_p()
    assert set(kind({"words": "a,b,c,d", "days": "x"}).errors) == {"words", "days"}
    meta = type("Meta", (), {"model": chart, "fields": ("words", "days")})
    serializer = type("Serializer", (serializers.ModelSerializer,), {"Meta": meta})
    assert serializer(chart.objects.get()).data == {"words": ["a", "b"], "days": ["2024-02-29"]}
    assert not serializer(data={"words": ["too long"]}).is_valid()


def test_a_migration_says_what_was_declared(chart):
    field = chart._meta.get_field("doses")
    assert field.deconstruct()[1] == "envelope_fields.fields.EncryptedArrayField"
    source, _ = MigrationWriter.serialize(field)
    assert MigrationWriter.serialize(field.clone())[0] == source
    assert isinstance(field, ArrayField)
    found = [each.msg for each in chart.check() if each.is_serious()]
    assert not [each for each in found if "must be in INSTALLED_APPS" not in each]  # Django 6.1


def test_it_is_imported_where_it_is_asked_for():
    assert fields.EncryptedArrayField is EncryptedArrayField
    assert "EncryptedArrayField" not in fields.__all__
    with pytest.raises(AttributeError, match="EncryptedMoney"):
        _ = fields.EncryptedMoney
    with pytest.raises(TypeError, match="EncryptedArrayField"):
        encrypted(ArrayField(models.TextField()))
    with pytest.raises(ValidationError):
        EncryptedArrayField(models.IntegerField(), size=1).clean([1, 2], None)
