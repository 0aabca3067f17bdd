"""Fields of django-phonenumber-field, -countries, -money and -ckeditor-5, made encrypted."""

import pytest
from django.core import serializers
from django.core.exceptions import FieldError, ValidationError
from django.db.migrations.writer import MigrationWriter
from django.forms import modelform_factory
from djmoney.money import Money
from rest_framework.serializers import ModelSerializer

from tests.neighbours.value_fields.models import Patient, Plain
from tests.stored import stored

pytestmark = pytest.mark.django_db

ENCRYPTED = ("phone", "country", "countries", "letter", "debt")
VALUES = {
    "phone": "030 2345678",
    "country": "NZ",
    "countries": ["DE", "NZ"],
    "letter": "<p>Dear <b>Zoë</b></p>",
    "debt": Money("12.30", "USD"),
}


def shown(row):
    """Return what the attributes give, and what they are."""
    return [
        (type(row.phone), row.phone and row.phone.as_international),
        (type(row.country), row.country.name),
        [(type(each), each.name) for each in row.countries],
        row.letter,
        (type(row.debt), row.debt),
    ]


def both(**values):
    return [kind.objects.create(**values) for kind in (Patient, Plain)]


def test_attributes():
    both(**VALUES)
    ours, plain = Patient.objects.get(), Plain.objects.get()
    assert shown(ours) == shown(plain)
    assert ours.debt_currency == "USD"
    assert all(stored(ours, each)[:1] == b"\x01" for each in ENCRYPTED)
    ours.phone, ours.debt = "030 8765432", Money(1, "EUR")
    ours.save()
    again = Patient.objects.get()
    assert (again.phone.as_e164, again.debt) == ("+49308765432", Money(1, "EUR"))
    before = stored(again, "phone")
    Patient.objects.get().save()
    assert stored(again, "phone") == before


def test_without_values():
    ours, plain = both()
    ours, plain = Patient.objects.get(), Plain.objects.get()
    assert (ours.phone, ours.debt, ours.country.code) == (plain.phone, None, plain.country.code)
    assert list(ours.countries) == list(plain.countries) == []
    assert stored(ours, "phone") is None


def test_nothing_is_found_by_them():
    both(**VALUES)
    for name in ("phone", "country", "letter", "debt"):
        with pytest.raises(FieldError):
            Patient.objects.filter(**{name: VALUES[name]}).exists()


def test_forms():
    names = ENCRYPTED
    ours, plain = (modelform_factory(kind, fields=names) for kind in (Patient, Plain))
    for name in names:
        assert isinstance(ours().fields[name], type(plain().fields[name]))
        assert type(ours().fields[name].widget) is type(plain().fields[name].widget)
    posted = {
        "phone": "030 2345678", "country": "NZ", "countries": ["DE"], "letter": "<p>&nbsp;</p>",
        "debt_0": "5", "debt_1": "EUR",
    }  # fmt: skip
    form = ours(posted)
    assert form.is_valid(), form.errors
    form.save()
    saved = Patient.objects.get()
    assert (saved.phone.as_e164, saved.debt) == ("+49302345678", Money(5, "EUR"))
    assert saved.letter == "", "the field prepares what has no text in this way"
    assert Patient._meta.get_field("letter").config_name == "extends"
    assert not ours({**posted, "phone": "1"}).is_valid()


def test_validation():
    with pytest.raises(ValidationError) as caught:
        Patient(phone="1", country="??").full_clean()
    assert set(caught.value.message_dict) == {"phone", "country"}


def test_serializers():
    both(**VALUES)
    data = []
    for kind in (Patient, Plain):
        meta = type("Meta", (), {"model": kind, "fields": ("phone", "country", "letter")})
        serializer = type("Serializer", (ModelSerializer,), {"Meta": meta})
        data.append(serializer(kind.objects.get()).data)
    assert data[0] == data[1]


@pytest.mark.parametrize("format", ["json", "xml"])
def test_fixtures(format):
    both(**VALUES)
    before = shown(Patient.objects.get())
    text = serializers.serialize(format, Patient.objects.all())
    assert "+49" not in text
    Patient.objects.all().delete()
    for loaded in serializers.deserialize(format, text):
        loaded.save()
    assert shown(Patient.objects.get()) == before


def test_migrations():
    for name in ENCRYPTED:
        field = Patient._meta.get_field(name)
        source, _ = MigrationWriter.serialize(field)
        assert source.startswith("envelope_fields.fields.encrypted(")
        assert MigrationWriter.serialize(field.clone())[0] == source
