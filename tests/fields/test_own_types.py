"""Field types that a project makes of the mixin: as the fields of Django that they extend."""

from datetime import date, timedelta

import pytest
from django.core import serializers
from django.core.exceptions import FieldError, ValidationError
from django.db import transaction
from django.db.models import F, Max
from django.forms import DateField, IntegerField, modelform_factory
from rest_framework import serializers as rest_framework

from envelope_fields.crypto.format import decode_text
from tests.fixtures.fixture import FORMATS, envelopes, row
from tests.models import Birth
from tests.stored import stored

pytestmark = pytest.mark.django_db

DAY = date(2024, 2, 29)


@pytest.fixture
def birth():
    return Birth.objects.create(day=DAY, grams=3500)


def test_values_come_back_with_their_type(birth):
    birth.refresh_from_db()
    assert (birth.day, birth.grams) == (DAY, 3500)
    assert timedelta(0) <= date.today() - birth.recorded <= timedelta(days=1)  # over midnight
    assert len(stored(birth, "day")) == 97 + len("2024-02-29")
    assert len(stored(birth, "grams")) == 97 + len("3500")
    assert Birth.objects.values_list("day", F("grams")).get() == (DAY, 3500)


def test_every_way_to_write(birth):
    Birth.objects.update(day="2023-01-01", grams=-1)
    birth.refresh_from_db()
    assert (birth.day, birth.grams) == (date(2023, 1, 1), -1)
    birth.day, birth.grams = None, 2**70
    Birth.objects.bulk_update([birth], ["day", "grams"])
    birth.refresh_from_db()
    assert (birth.day, birth.grams) == (None, 2**70)
    assert stored(birth, "day") is None
    Birth.objects.bulk_create([Birth(day=DAY)])
    assert Birth.objects.get(day__isnull=False).day == DAY


def test_the_database_computes_nothing(birth):
    for query in (
        lambda: Birth.objects.filter(day__year=2024),
        lambda: Birth.objects.filter(grams__gt=1),
        lambda: Birth.objects.aggregate(Max("grams")),
        lambda: Birth.objects.update(grams=F("grams") + 1),
    ):
        refused = pytest.raises(FieldError, match=r"tests\.Birth\.(day|grams) is encrypted")
        with refused, transaction.atomic():
            query()


def test_validation():
    Birth(day="2024-02-29", grams="3500").full_clean()
    with pytest.raises(ValidationError) as caught:
        Birth(day="no day", grams="no number").full_clean()
    assert set(caught.value.message_dict) == {"day", "grams"}


def test_what_a_type_refuses_is_not_stored_nor_shown(birth):
    with (
        pytest.raises(ValueError, match=r"^tests\.Birth\.day: .* raised ValueError\.$") as caught,
        transaction.atomic(),
    ):
        Birth.objects.update(day="no day")
    assert caught.value.__context__ is None
    assert Birth.objects.get().day == DAY


def test_forms_and_serializers(birth):
    form = modelform_factory(Birth, fields=["day", "grams"])({"day": "1.2.2024", "grams": "x"})
    assert (type(form.fields["day"]), type(form.fields["grams"])) == (DateField, IntegerField)
    assert set(form.errors) == {"day", "grams"}

    class BirthSerializer(rest_framework.ModelSerializer):
        class Meta:
            model = Birth
            fields = ["day", "grams"]

    assert type(BirthSerializer().fields["day"]) is rest_framework.DateField
    assert BirthSerializer(Birth.objects.get()).data == {"day": "2024-02-29", "grams": 3500}


@pytest.mark.parametrize("format", FORMATS)
def test_fixtures(birth, format):
    text = serializers.serialize(format, [birth])
    dumped = list(map(decode_text, envelopes(text)))
    Birth.objects.all().delete()
    for loaded in serializers.deserialize(format, text):
        loaded.save()
    birth = Birth.objects.get()
    assert (birth.day, birth.grams) == (DAY, 3500)
    assert [stored(birth, name) for name in ("day", "grams", "recorded")] == dumped


def test_plain_values_in_a_fixture():
    fixture = [row("tests.birth", 1, day="2024-02-29", grams=5, recorded="2024-03-01")]
    for loaded in serializers.deserialize("python", fixture):
        loaded.save()
    birth = Birth.objects.get()
    assert (birth.day, birth.grams, birth.recorded) == (DAY, 5, date(2024, 3, 1))
