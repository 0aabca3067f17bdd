"""Forms, the admin, serializers and filters ask fields of every type what they ask plain ones."""

import pytest
from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from rest_framework import serializers

from tests.fields.family import FAMILY, exactly

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.any_database,
    pytest.mark.filterwarnings("ignore:The default scheme will be changed"),  # Django 5.2
]

# Django has no form field for bytes, and no serializer writes them.
SHOWN = [name for name in FAMILY if name != "Binary"]
# What a user may type in, right and wrong, beside what the form shows.
TYPED = [
    "",
    " ",
    "0",
    "1",
    "-1",
    "1.5",
    "no",
    "true",
    "2024-02-29",
    "2024-02-29 12:00",
    "12:00",
    "::1",
]
TYPED += [
    "12.345",
    "1e3",
    "99999",
    "a-b",
    "x@y.z",
    "https://y.z",
    "99999999999999999999",
    "NaN",
    "/",
]


def typed_for(form):
    """Return what a browser posts of a form that nobody changed."""
    return {bound.html_name: bound.value() if bound.value() is not None else "" for bound in form}


@pytest.mark.parametrize("name", SHOWN)
def test_forms(model, name):
    kind = model(name, null=True, blank=True)
    form_class = forms.modelform_factory(kind, fields=["value", "twin"])
    for value in FAMILY[name][1]:
        row = kind.objects.create(value=value, twin=value)
        form = form_class(instance=kind.objects.get())
        html = [str(form[each]).replace("twin", "value") for each in ("value", "twin")]
        assert html[0] == html[1]
        assert form["value"].value() == form["twin"].value()
        row.delete()
    for typed in TYPED:
        form = form_class({"value": typed, "twin": typed}, instance=kind(value=value, twin=value))
        assert form.errors.get("value") == form.errors.get("twin"), typed
        assert ("value" in form.changed_data) == ("twin" in form.changed_data), typed
        assert form.cleaned_data.get("value") == form.cleaned_data.get("twin")
        if form.is_valid():
            found = kind.objects.get(pk=form.save().pk)
            assert exactly(found.value, found.twin), typed
            again = form_class(typed_for(form_class(instance=found)), instance=found)
            assert again.is_valid(), again.errors
            assert "twin" in again.changed_data or "value" not in again.changed_data, typed


@pytest.mark.parametrize("name", SHOWN)
def test_the_admin(model, rf, name):
    kind = model(name, null=True, blank=True)
    made = admin.ModelAdmin(kind, admin.AdminSite()).get_form(rf.get("/"))
    value, twin = (made.base_fields[each] for each in ("value", "twin"))
    assert type(value) is type(twin)
    assert type(value.widget) is type(twin.widget)
    assert value.widget.attrs == twin.widget.attrs


def serializer_of(kind):
    meta = type("Meta", (), {"model": kind, "fields": ["value", "twin"]})
    return type("RowSerializer", (serializers.ModelSerializer,), {"Meta": meta})


@pytest.mark.parametrize("name", FAMILY)
def test_serializers(model, name):
    kind = model(name, null=True, blank=True)
    serializer = serializer_of(kind)
    for value in FAMILY[name][1]:
        kind.objects.all().delete()
        kind.objects.create(value=value, twin=value)
        shown = serializer(kind.objects.get()).data
        assert shown["value"] == shown["twin"]
        given = serializer(data=shown)
        if not given.is_valid():  # no file of that path is there
            assert given.errors["value"] == given.errors["twin"]
        elif name != "Binary":
            kind.objects.all().delete()
            given.save()
            found = kind.objects.get()
            assert exactly(found.value, found.twin)
    for typed in [*TYPED, None, 0, 1, 1.5, True, [], {}, 10**20]:
        given = serializer(data={"value": typed, "twin": typed})
        given.is_valid()
        assert given.errors.get("value") == given.errors.get("twin"), typed
        if not given.errors:
            given.save()
            found = kind.objects.latest("pk")
            assert exactly(found.value, found.twin), typed


class Ward(models.IntegerChoices):
    NORTH = 1, "in the north"
    SOUTH = 2, "in the south"


class Blood(models.TextChoices):
    A = "a", "group A"


@pytest.mark.parametrize(("name", "choices"), [("Integer", Ward), ("Char", Blood)])
def test_enumerations(model, name, choices):
    chosen = list(choices)[-1]
    kind = model(name, choices=choices, null=True, default=chosen)
    kind.objects.create()
    found = kind.objects.get()
    assert (found.value, found.get_value_display()) == (chosen, chosen.label)
    assert type(found.value) is type(chosen.value)
    assert choices(found.value) is chosen
    found.value = choices.values[0]
    found.full_clean()
    found.value = {int: 9, str: "z"}[type(chosen.value)]
    with pytest.raises(ValidationError) as caught:
        found.full_clean()
    assert set(caught.value.message_dict) == {"value"}
    assert [*serializer_of(kind)().fields["value"].choices] == choices.values
