"""Values that are equal to a plain column are equal to an index, and others are not."""

import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from django.apps.registry import Apps
from django.db import models
from django.db.models import F

from envelope_fields import fields
from envelope_fields.fields.index.normalizers import reduced
from envelope_fields.fields.index.terms import forms_of_values
from envelope_fields.fields.prepared import Unencrypted
from tests.models.tables import tables_of

pytestmark = pytest.mark.django_db

apps = Apps(["tests"])
BERNE = timezone(timedelta(hours=1))
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")

# Of each type: a plain field, and values; some of them are equal.
KINDS = {
    "float": (models.FloatField, {}, [0.0, -0.0, 1.0, 1, "1.0", 0.1, 0.1 + 0.2, 0.3, 1e300, -1.5]),
    "decimal": (
        models.DecimalField,
        {"max_digits": 12, "decimal_places": 4},
        [Decimal("1.0"), Decimal("1.00"), Decimal(1), "1.0000", Decimal("-0"), Decimal("0.00"),
         Decimal("100"), Decimal("1E+2"), Decimal("1.0001"), Decimal("-1")],
    ),
    "integer": (models.IntegerField, {}, [0, 1, True, "1", -1, 10]),
    "boolean": (models.BooleanField, {}, [True, False, 1, 0]),
    "datetime": (
        models.DateTimeField,
        {},
        [datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=BERNE),
         datetime(2026, 1, 1, 13, tzinfo=UTC), datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC)],
    ),
    "date": (models.DateField, {}, [date(2026, 1, 1), "2026-01-01", date(2026, 1, 2)]),
    "time": (models.TimeField, {}, [time(12), "12:00", time(12, 0, 0, 1), time(13)]),
    "duration": (
        models.DurationField,
        {},
        [timedelta(hours=24), timedelta(days=1), timedelta(0), -timedelta(microseconds=1)],
    ),
    "uuid": (models.UUIDField, {}, [ID, str(ID), ID.hex, str(ID).upper(), uuid.UUID(int=1)]),
    "address": (
        models.GenericIPAddressField,
        {},
        ["2001:db8::1", "2001:DB8:0::1", "192.0.2.1", "::ffff:192.0.2.1"],
    ),
}  # fmt: skip


def _pair(name, plain, options):
    encrypted = getattr(fields, f"Encrypted{plain.__name__}")
    meta = type("Meta", (), {"apps": apps, "app_label": "tests"})
    return type(
        f"Equal{name.title()}",
        (models.Model,),
        {
            "__module__": __name__, "Meta": meta,
            "plain": plain(**options), "value": encrypted(**options),
            "value_index": fields.BlindIndexField("value"),
        },
    )  # fmt: skip


MODELS = {name: _pair(name, plain, options) for name, (plain, options, _) in KINDS.items()}


class EqualJson(models.Model):
    value = fields.EncryptedJSONField(default=dict)
    value_index = fields.BlindIndexField("value__n")

    class Meta:
        apps = apps
        app_label = "tests"


class EqualPlaces(models.Model):
    few = fields.EncryptedDecimalField(max_digits=12, decimal_places=2)
    few_index = fields.BlindIndexField("few", shared="places")
    many = fields.EncryptedDecimalField(max_digits=12, decimal_places=7)
    many_index = fields.BlindIndexField("many", shared="places")

    class Meta:
        apps = apps
        app_label = "tests"


tables = tables_of([*MODELS.values(), EqualJson, EqualPlaces])


@pytest.mark.parametrize("name", KINDS)
def test_an_index_finds_what_a_plain_column_finds(name):
    model, values = MODELS[name], KINDS[name][2]
    for value in values:
        model.objects.create(plain=value, value=value)
    for value in values:
        plain = set(model.objects.filter(plain=value).values_list("pk", flat=True))
        indexed = set(model.objects.filter(value=value).values_list("pk", flat=True))
        assert indexed == plain, value


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("12.30", "12.3"), ("100", "1E+2"), ("1E+2", "1E+2"), ("-0.00", "0"), ("0E+7", "0"),
        ("-1.0", "-1"), ("007", "7"), ("NaN", "NaN"),
        ("1" * 50 + ".0", "1" * 50), ("1" * 50 + ".10", "1" * 50 + ".1"),
    ],
)  # fmt: skip
def test_reduced(value, form):
    assert str(reduced(Decimal(value))) == form


def test_other_decimal_places_find_the_same_rows():
    """A migration that gives more of them changes no row, and no index."""
    EqualPlaces.objects.create(few="1.5", many="1.5")
    row = EqualPlaces.objects.create(few="-0", many="0")
    EqualPlaces.objects.create(few="2.5", many="2.5000001")

    equal = EqualPlaces.objects.filter(few=F("many"))

    assert equal.count() == 2
    assert EqualPlaces.objects.get(few=Decimal("0.000000000")) == row


@pytest.mark.parametrize(("value", "form"), [("12.30", b"12.3"), (100, b"1E+2"), ("-0", b"0")])
def test_the_normal_form_of_a_decimal_has_no_zeros_at_its_end(value, form):
    """As docs/spec/blind-index-v1.md has it, whatever the field's decimal places are."""
    index = EqualPlaces._meta.get_field("many_index")
    assert forms_of_values(index, [Unencrypted(value, None)]) == (form,)


def test_numbers_in_json():
    """True is not 1, as in the JSON of a database; everything else is as in Python."""
    values = [0, -0.0, 0.0, 1, 1.0, True, 1.5, 1e2, 100, 10**30, "1"]
    for value in values:
        EqualJson.objects.create(value={"n": value})
    for value in values:
        found = {each.value["n"] for each in EqualJson.objects.filter(value__n=value)}
        assert found == {value}, value
        same = [
            each for each in values
            if each == value and isinstance(each, bool) == isinstance(value, bool)
        ]  # fmt: skip
        assert EqualJson.objects.filter(value__n=value).count() == len(same), value
