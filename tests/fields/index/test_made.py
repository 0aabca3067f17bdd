"""Indexes of values that a field makes while its row is saved, and its object does not have."""

import itertools
import pickle
import uuid

import pytest
from django.apps.registry import Apps
from django.db import connection, models
from django.db.models import Value

from envelope_fields.fields import BlindIndexField, EncryptedCharField, encrypted
from tests.models.tables import tables_of

pytestmark = pytest.mark.django_db

apps = Apps(["tests"])
_numbers = itertools.count()


class Lowered(EncryptedCharField):
    def pre_save(self, model_instance, add):
        return getattr(model_instance, self.attname).lower()


class Cut(models.CharField):
    def pre_save(self, model_instance, add):
        return super().pre_save(model_instance, add)[:3]


class Numbered(EncryptedCharField):
    def pre_save(self, model_instance, add):
        return f"{next(_numbers):04}"


class Explicit(EncryptedCharField):
    def pre_save(self, model_instance, add):
        return Value(getattr(model_instance, self.attname).lower(), output_field=self)


class Emptied(EncryptedCharField):
    def pre_save(self, model_instance, add):
        return getattr(model_instance, self.attname) or None


class Made(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    before_index = BlindIndexField("name")
    name = Lowered(max_length=20)
    name_index = BlindIndexField("name")
    cut = encrypted(Cut(max_length=20))
    cut_index = BlindIndexField("cut")
    number = Numbered(max_length=20)
    number_index = BlindIndexField("number", unique=True)
    explicit = Explicit(max_length=20)
    explicit_index = BlindIndexField("explicit")
    empty = Emptied(max_length=20, null=True)
    empty_index = BlindIndexField("empty")
    bound = Lowered(max_length=20, bind_to=("id",))
    both_index = BlindIndexField("name", "bound")

    class Meta:
        apps = apps
        app_label = "tests"


tables = tables_of(apps)

FIELDS = ("name", "cut", "number", "explicit", "bound")
INDEXES = [field.name for field in Made._meta.fields if field.name.endswith("_index")]


def row(name="ADA"):
    return Made(name=name, cut=name, number="", explicit=name, empty="", bound=name)


def create():
    found = row()
    found.save()
    return found


def create_several():
    return Made.objects.bulk_create([row(), row("BEN")])[0]


def create_again():
    found = row("BEN")
    found.save()
    found.pk, found._state.adding = uuid.uuid4(), True
    found.name = found.cut = found.explicit = found.bound = "ADA"
    found.save()
    return found


def save_again():
    found = row("BEN")
    found.save()
    found.name = found.cut = found.explicit = found.bound = "ADA"
    found.save()
    return found


def save_what_was_loaded():
    found = row("ADA")
    found.save()
    Made.objects.get(pk=found.pk).save()
    return found


def upsert():
    found = row("BEN")
    found.save()
    other = row("ADA")
    other.pk = found.pk
    if not connection.features.supports_update_conflicts_with_target:
        pytest.skip("an upsert does not say there which row it updates, and one field is bound")
    Made.objects.bulk_create(
        [other], update_conflicts=True, update_fields=FIELDS, unique_fields=["pk"]
    )
    return other


WAYS = [create, create_several, create_again, save_again, save_what_was_loaded, upsert]


@pytest.mark.parametrize("write", WAYS)
def test_they_are_made_of_what_is_stored(write):
    written = write()
    found = Made.objects.get(pk=written.pk)
    assert (found.name, found.cut, found.explicit, found.bound) == ("ada", "ADA", "ada", "ada")
    for name in ("name", "cut", "number", "explicit"):
        assert found in Made.objects.filter(**{name: getattr(found, name)}), name
    assert found in Made.objects.filter(both_index=("ada", "ada"))
    assert found.before_index is not None
    assert found.empty_index is None
    assert not Made.objects.filter(name="ADA").exists()


@pytest.mark.parametrize("write", [create, create_several, create_again])
def test_an_object_has_the_index_of_what_is_stored(write):
    written = write()
    found = Made.objects.get(pk=written.pk)
    assert [vars(written)[each] for each in INDEXES] == [getattr(found, each) for each in INDEXES]
    assert written.name == "ADA"  # as Django leaves it


class Stamped(models.CharField):
    """As fields that keep when a row was changed last."""

    def pre_save(self, model_instance, add):
        value = f"{next(_numbers):04}"
        setattr(model_instance, self.attname, value)
        return value


class Stamp(models.Model):
    title = models.CharField(max_length=20, default="")
    stamp = encrypted(Stamped(max_length=20))
    stamp_index = BlindIndexField("stamp")

    class Meta:
        apps = apps
        app_label = "tests"


def test_a_value_that_nobody_looked_at_is_made_anew():
    Stamp.objects.create()
    before = Stamp.objects.get().stamp
    Stamp.objects.get().save()
    after = Stamp.objects.get().stamp
    assert before < after
    assert Stamp.objects.filter(stamp=after).exists()


def test_what_is_stored_is_in_no_pickle_of_the_object():
    assert b"ada" not in pickle.dumps(vars(create())["_state"])
