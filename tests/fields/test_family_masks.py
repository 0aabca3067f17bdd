"""Fields of every type that mask: dots in forms, serializers and the admin, and nothing lost."""

import json

import pytest
from django import forms
from django.contrib import admin
from django.db import models
from django.http import QueryDict
from django.test.utils import isolate_apps
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer

from envelope_fields.fields import rest_framework
from envelope_fields.fields.masks import DOTS, Mask
from envelope_fields.lifecycle import create_master_key
from envelope_fields.policy import APPLICATION, acting_as
from tests.fields.family import FAMILY, encrypted, plain
from tests.stored import stored

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:The default scheme will be changed"),  # Django 5.2
]

# Django has no form field for bytes.
SHOWN = [name for name in FAMILY if name != "Binary"]


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("nora", is_staff=True, is_superuser=True)


@pytest.fixture
def masked(model, user):
    """Return a function that makes an object as a user sees it who may not read its value."""
    create_master_key("lab")
    acting = acting_as(user)

    def make(name, **options):
        kind = model(name, null=True, blank=True, on_denied="mask", key="lab", **options)
        kind.objects.create(value=FAMILY[name][1][-1])
        acting.__enter__()
        return kind.objects.get()

    yield make
    acting.__exit__(None, None, None)


def serializer_of(kind):
    meta = type("Meta", (), {"model": kind, "fields": ("value", "twin")})
    return type("Serializer", (serializers.ModelSerializer,), {"Meta": meta})


def opened(thing):
    with acting_as(APPLICATION):
        return type(thing).objects.get().value


@pytest.mark.parametrize("name", FAMILY)
def test_the_object(masked, name):
    thing = masked(name)
    before = stored(thing, "value")
    assert isinstance(thing.value, Mask)
    thing.full_clean()
    thing.save()
    assert stored(thing, "value") == before
    assert opened(thing) == FAMILY[name][1][-1]


@pytest.mark.any_database
@pytest.mark.parametrize("name", SHOWN)
def test_forms(masked, name):
    thing = masked(name)
    kind = forms.modelform_factory(type(thing), fields=["value", "twin"])
    form = kind(instance=thing)
    assert DOTS in form.as_p()
    assert form["value"].field.disabled
    for posted in ({}, {"value": "1"}, {"value": DOTS}):
        form = kind(posted, instance=thing)
        assert form.is_valid(), form.errors
        assert "value" not in form.changed_data
        form.save()
        assert opened(thing) == FAMILY[name][1][-1]


@pytest.mark.any_database
@pytest.mark.parametrize("name", SHOWN)
def test_the_admin(masked, user, rf, name):
    thing = masked(name)
    request = rf.get("/")
    request.user = user
    form = admin.ModelAdmin(type(thing), admin.AdminSite()).get_form(request, thing)(instance=thing)
    assert DOTS in form.as_p()
    assert form["value"].field.disabled


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["Char", "Integer", "Date"])
def test_choices(masked, name):
    values = FAMILY[name][1]
    choices = [(value, f"number {number}") for number, value in enumerate(values)]
    thing = masked(name, choices=choices)
    form = forms.modelform_factory(type(thing), fields=["value"])(instance=thing)
    assert DOTS in form.as_p()
    assert "<select" not in form.as_p()
    assert thing.get_value_display() == DOTS
    assert serializer_of(type(thing))(thing).data["value"] == DOTS


@pytest.mark.any_database
@pytest.mark.parametrize("name", FAMILY)
def test_serializers(masked, name):
    thing = masked(name)
    kind = serializer_of(type(thing))
    field, twin = kind().fields["value"], kind().fields["twin"]
    assert isinstance(field, rest_framework.MaskingFieldMixin)
    assert isinstance(field, type(twin))
    assert json.loads(JSONRenderer().render(kind(thing).data))["value"] == DOTS
    for posted in (DOTS, "1"):
        serializer = kind(thing, data={"value": posted}, partial=True)
        assert serializer.is_valid(), serializer.errors
        serializer.save()
        assert opened(thing) == FAMILY[name][1][-1]
    if not field.read_only:  # as Django's field of bytes is
        serializer = kind(data={"value": DOTS})
        assert not serializer.is_valid()
        assert set(serializer.errors) == {"value"}


@pytest.mark.any_database
@pytest.mark.parametrize("name", FAMILY)
def test_serializers_of_fields_that_do_not_mask_are_those_of_the_plain_fields(name):
    with isolate_apps("tests"):

        class Thing(models.Model):
            value = encrypted(name)
            twin = plain(name)

            class Meta:
                app_label = "tests"

    found = serializer_of(Thing)().fields
    kind = type(found["twin"])
    assert type(found["value"]) is (
        rest_framework.EncryptedModelField if kind is serializers.ModelField else kind
    )
    schemas = [
        AutoSchema()._map_serializer_field(found[each], "response") for each in ("value", "twin")
    ]
    assert schemas[0] == schemas[1]


@pytest.mark.any_database
def test_serializers_show_bytes_as_those_of_the_plain_field_do(model):
    thing = model("Binary").objects.create(value=b"\xff", twin=b"\xff")
    data = serializer_of(type(thing))(type(thing).objects.get()).data
    assert data == {"value": "/w==", "twin": "/w=="}


@pytest.mark.any_database
def test_checkboxes(model, user):
    """One that was disabled is not taken for one that is cleared, by a user who may read it now."""
    create_master_key("lab")
    thing = model("Boolean", on_denied="mask", key="lab").objects.create(value=True, twin=True)
    kind = forms.modelform_factory(type(thing), fields=["value", "twin"])
    with acting_as(user):
        shown = kind(instance=type(thing).objects.get()).as_p()
    assert shown.count('name="value"') == 1
    assert DOTS in shown
    assert kind(instance=thing).as_p().count('name="value"') == 2
    for posted, value in (({}, True), ({"value": ""}, False), ({"value": ["", "on"]}, True)):
        data = QueryDict(mutable=True)
        for name, each in posted.items():
            data.setlist(name, [each] if isinstance(each, str) else each)
        form = kind(data, instance=type(thing).objects.get())
        assert form.is_valid(), form.errors
        form.save()
        assert opened(thing) is value
