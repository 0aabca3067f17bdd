"""Indexes that are declared before their fields."""

import pytest
from django.apps.registry import Apps
from django.db import connection, models

from envelope_fields.fields import (
    BlindIndexField,
    EncryptedCharField,
    EncryptedDateTimeField,
    EncryptedTextField,
)
from tests.models.tables import tables_of

pytestmark = pytest.mark.django_db

apps = Apps(["tests"])


class Folded(EncryptedCharField):
    def pre_save(self, model_instance, add):
        setattr(model_instance, self.attname, getattr(model_instance, self.attname).lower())
        return super().pre_save(model_instance, add)


class Ordered(models.Model):
    seen_index = BlindIndexField("seen")
    made_index = BlindIndexField("made")
    code_index = BlindIndexField("code", unique=True)
    both_index = BlindIndexField("name", "code")
    name = EncryptedTextField(blank=True)
    seen = EncryptedDateTimeField(auto_now=True)
    made = EncryptedDateTimeField(auto_now_add=True)
    code = Folded(max_length=20)

    class Meta:
        apps = apps
        app_label = "tests"


tables = tables_of([Ordered])


def create():
    return Ordered.objects.create(name="Ada", code="A1")


def create_several():
    return Ordered.objects.bulk_create([Ordered(name="Ada", code=code) for code in ("A1", "B2")])[0]


def save_again():
    row = Ordered.objects.create(name="Ada", code="C3")
    row.code = "A1"
    row.save()
    return row


def save_with_key():
    row = Ordered(pk=7, name="Ada", code="A1")
    row.save()
    return row


@pytest.mark.parametrize("write", [create, create_several, save_again, save_with_key])
def test_they_are_made_of_what_is_written(write):
    write()
    row = Ordered.objects.get(code="a1")
    for name in ("seen", "made", "code"):
        assert Ordered.objects.filter(**{name: getattr(row, name), "pk": row.pk}).exists(), name
    assert Ordered.objects.get(both_index=("Ada", "a1")) == row
    assert row.code_index == Ordered.objects.values_list("code_index", flat=True).get(pk=row.pk)


@pytest.mark.parametrize("code", ["b2", ""])
def test_an_upsert_of_the_values_writes_them(code):
    row = create()
    options = {"update_fields": ["code", "name"]}
    if connection.features.supports_update_conflicts_with_target:
        options["unique_fields"] = ["pk"]
    Ordered.objects.bulk_create(
        [Ordered(pk=row.pk, name="Ben", code=code)], update_conflicts=True, **options
    )
    assert not Ordered.objects.filter(code="a1").exists()
    stored = Ordered.objects.values_list("code_index", flat=True).get()
    assert (stored is None) == (not code)
