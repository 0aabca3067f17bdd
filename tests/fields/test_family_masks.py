"""Fields of every type that mask: dots in forms, serializers and the admin, and nothing lost."""

import json
import pickle

import pytest
from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import AdminReadonlyField
from django.contrib.admin.templatetags.admin_list import results
from django.core.exceptions import FieldError
from django.db import models
from django.http import HttpResponse, QueryDict
from django.template import Context, Template
from django.test.utils import isolate_apps
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer

from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.fields import rest_framework
from envelope_fields.fields.masks import DOTS, Mask, shown
from envelope_fields.lifecycle import create_master_key, disable, enable
from envelope_fields.policy import APPLICATION, acting_as
from tests.fields.family import FAMILY, encrypted, plain
from tests.stored import stored

WORDS = "⚠ cannot be opened"
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


@pytest.fixture
def unopened(model):
    """Return a function that makes an object whose value cannot be opened for the time being."""
    create_master_key("lab")

    def make(name, **options):
        kind = model(name, key="lab", **options)
        kind.objects.create(value=FAMILY[name][1][-1], twin=FAMILY[name][1][-1])
        disable("lab")
        return kind.objects.get()

    return make


def serializer_of(kind, *mixins, **declared):
    meta = type("Meta", (), {"model": kind, "fields": ("value", "twin", *declared)})
    bases = (*mixins, serializers.ModelSerializer)
    return type("Serializer", bases, {"Meta": meta, **declared})


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
    assert DOTS in "".join(columns_of(thing, request))
    assert DOTS in AdminReadonlyField(form, "value", True, model_admin_of(thing)).contents()


def model_admin_of(thing):
    kind = type("Admin", (admin.ModelAdmin,), {"list_display": ["value", "as_icon"]})
    kind.as_icon = admin.display(boolean=True)(lambda self, each: each.value)
    return kind(type(thing), admin.AdminSite())


def columns_of(thing, request):
    changelist = model_admin_of(thing).get_changelist_instance(request)
    changelist.formset = None
    [columns] = results(changelist)
    return columns


@pytest.mark.any_database
@pytest.mark.parametrize("name", ["Char", "Integer", "Date"])
def test_choices_in_the_admin(masked, user, rf, name):
    thing = masked(name, choices=[(value, "one") for value in FAMILY[name][1]])
    request = rf.get("/")
    request.user = user
    assert DOTS in columns_of(thing, request)[1]


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


class Switch(forms.CheckboxInput):
    """As themes of the admin have them."""


class Present(forms.CheckboxInput):
    """Takes whatever is posted for yes."""

    def value_from_datadict(self, data, files, name):
        return name in data


class Switching(forms.ModelForm):
    """Takes another widget when it is made."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not self.Meta.widgets:
            self.fields["value"].widget = Switch()


@pytest.mark.any_database
@pytest.mark.parametrize("widget", [forms.CheckboxInput, Switch, Present, None])
def test_checkboxes(model, user, widget):
    """One that was disabled is not taken for one that is cleared, by a user who may read it now."""
    create_master_key("lab")
    thing = model("Boolean", on_denied="mask", key="lab").objects.create(value=True, twin=True)
    kind = forms.modelform_factory(
        type(thing),
        Switching,
        fields=["value", "twin"],
        widgets={"value": widget} if widget else {},
    )
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


@pytest.mark.any_database
@pytest.mark.parametrize("make", ["masked", "unopened"])
def test_a_boolean_is_neither_true_nor_false(request, make):
    thing = request.getfixturevalue(make)("Boolean")
    page = Template("{% if thing.value %}yes{% else %}no{% endif %}")
    with shown(thing):
        assert str(thing.value).startswith((DOTS, WORDS))
        for ask in (
            lambda: bool(thing.value),
            lambda: page.render(Context({"thing": thing})),
            lambda: serializers.BooleanField().to_representation(thing.value),
        ):
            with pytest.raises(TypeError, match=r"tests\.thing\.value is neither true nor false"):
                ask()


FILTERS = (
    'date:"Y"', "time", "timesince", "timeuntil", "floatformat", "filesizeformat", "length",
    "yesno", 'add:"1"', 'localtime|date:"Y"', 'timezone:"UTC"', "utc", "default:0", "title",
    'stringformat:".2f"', "first", "last", 'dictsort:"a"', 'dictsortreversed:"a"', 'slice:":2"',
)  # fmt: skip


@pytest.mark.any_database
@pytest.mark.parametrize("name", FAMILY)
def test_templates(masked, name):
    thing = masked(name)
    for shown_as in (*(f"|{each}" for each in FILTERS), ".year", ".items", ".0", ".sealed", ""):
        page = Template(f"{{% load tz %}}{{{{ thing.value{shown_as} }}}}")
        assert page.render(Context({"thing": thing})) == DOTS, shown_as


@pytest.mark.any_database
def test_what_is_inside_of_a_mask_is_masked(masked):
    thing = masked("Char")
    part = thing.value["a"]["0"]
    assert str(part) == DOTS
    assert HttpResponse(thing.value).content.decode() == DOTS  # which would join what iterates
    assert type(pickle.loads(pickle.dumps(part))) is type(part)
    for ask in (
        lambda: bool(part),
        lambda: "x" in thing.value,
        lambda: list(thing.value),
        lambda: list(part),
        lambda: JSONRenderer().render([part]),
        lambda: Template("{% if thing.value.a %}yes{% endif %}").render(Context({"thing": thing})),
        lambda: Template("{% for each in thing.value.items %}{% endfor %}").render(
            Context({"thing": thing})
        ),
    ):
        with pytest.raises(TypeError):
            ask()
    thing.value = part
    thing.save()
    assert opened(thing) == FAMILY["Char"][1][-1]
    thing.twin = part
    with pytest.raises(FieldError, match="masked"):
        thing.save()


class TestUnopened:
    """A key that is disabled makes words of values, which are there when it is enabled again."""

    @pytest.mark.any_database
    @pytest.mark.parametrize("name", FAMILY)
    def test_answers(self, unopened, name):
        kind = serializer_of(type(thing := unopened(name)), rest_framework.EncryptedSerializerMixin)
        assert kind(thing).data["value"].startswith(WORDS)
        plainly = type("Meta", (), {"model": type(thing), "fields": ["twin"]})
        twin = type("Plain", (serializers.ModelSerializer,), {"Meta": plainly})(thing).data["twin"]
        assert kind(thing).data["twin"] == twin

    @pytest.mark.parametrize("name", SHOWN)
    def test_forms_of_the_browsable_api(self, unopened, name):
        thing = unopened(name, null=True, blank=True)
        kind = serializer_of(type(thing), rest_framework.EncryptedSerializerMixin)
        before = stored(thing, "value")
        box = "value=true&twin=" if name == "Boolean" else "twin="
        for posted in (box, "value=&twin=", f"value={WORDS}&twin="):
            serializer = kind(thing, data=QueryDict(posted))
            assert serializer.is_valid(), serializer.errors
            serializer.save()
            assert stored(thing, "value") == before
        thing.refresh_from_db(fields=["twin"])
        assert not thing.twin
        enable("lab")
        assert opened(thing) == FAMILY[name][1][-1]

    def test_what_is_written_in_a_form_is_not_lost(self, unopened):
        kind = serializer_of(
            type(thing := unopened("Char")), rest_framework.EncryptedSerializerMixin
        )
        serializer = kind(thing, data=QueryDict("value=new&twin=x"))
        assert serializer.is_valid()
        assert serializer.validated_data == {"value": "new", "twin": "x"}
        with pytest.raises(MasterKeyUnusable):
            serializer.save()

    @pytest.mark.any_database
    def test_what_is_sent_as_json_is_written(self, unopened):
        thing = unopened("Date", null=True)
        kind = serializer_of(type(thing), rest_framework.EncryptedSerializerMixin)
        assert not kind(thing, data={"value": WORDS}, partial=True).is_valid()
        serializer = kind(thing, data={"value": None}, partial=True)
        assert serializer.is_valid()
        assert serializer.validated_data == {"value": None}


@pytest.mark.any_database
@pytest.mark.parametrize(
    "field",
    [
        serializers.IntegerField(source="value", read_only=True),
        serializers.ReadOnlyField(source="value"),
        serializers.SerializerMethodField(method_name="get_value"),
    ],
)
def test_serializer_fields_of_ones_own(masked, field):
    kind = serializer_of(
        type(thing := masked("Integer")), rest_framework.EncryptedSerializerMixin, other=field
    )
    kind.get_value = lambda self, row: row.value
    assert json.loads(JSONRenderer().render(kind(thing).data))["other"] == DOTS
