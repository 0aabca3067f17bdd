"""What a dump holds: the text of an envelope for every value, in every format."""

import builtins
import sys
from datetime import date

import pytest
from django.core import serializers
from django.db import models

from envelope_fields.crypto.format import decode_text
from envelope_fields.fields.sealed import BroughtValue
from envelope_fields.lifecycle import create_master_key
from tests.models import Chart, Declared, Note, PlaceProxy, Restaurant, TenantNote
from tests.serializers.fixture import FORMATS, dump, envelopes
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db

JSON_VALUES = [5, 0, -1, 1.5, True, False, "", "text", [], {}, {"a": [None, 1]}, [0]]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("value", JSON_VALUES, ids=repr)
def test_json_values(format, value):
    Chart.objects.create(values=value)
    text = serializers.serialize(format, Chart.objects.all())
    assert len(envelopes(text)) == 1
    loaded = next(serializers.deserialize(format, text))
    assert type(vars(loaded.object)["values"]) is BroughtValue  # it is opened where it is looked at
    loaded.save()
    assert type(Chart.objects.get().values) is type(value)
    assert Chart.objects.get().values == value


@pytest.mark.parametrize("value", JSON_VALUES, ids=repr)
def test_the_python_format(value):
    chart = Chart.objects.create(values=value)
    (data,) = serializers.serialize("python", [chart])
    assert data["pk"] == chart.pk
    assert data["fields"]["values"].startswith("envelope:")


@pytest.mark.parametrize("format", FORMATS)
def test_json_null_where_the_column_cannot_be_null(format):
    Chart.objects.create(values=models.Value(None, models.JSONField()))
    text = serializers.serialize(format, Chart.objects.all())
    assert len(envelopes(text)) == 1
    next(serializers.deserialize(format, text)).save()
    assert Chart.objects.get().values is None


@pytest.mark.parametrize("format", FORMATS)
def test_json_null_that_is_not_saved_yet(format):
    note = Note(pk=1, text="a", data=models.Value(None, models.JSONField()))
    text = serializers.serialize(format, [note])
    assert len(envelopes(text)) == 2
    assert note.data is not None


@pytest.mark.parametrize("format", FORMATS)
def test_null_stays_null(format):
    Note.objects.create(text="x", data=None)
    text = serializers.serialize(format, Note.objects.all())
    assert len(envelopes(text)) == 1
    next(serializers.deserialize(format, text)).save()
    assert stored(Note.objects.get(), "data") is None


@pytest.mark.parametrize("format", FORMATS)
def test_an_encoder_writes_the_dates(format):
    Declared.objects.create(short="ab", nullable="n", dates={"day": date(2024, 2, 29)})
    text = serializers.serialize(format, Declared.objects.all())
    assert len(envelopes(text)) == 4
    assert "2024" not in text
    next(serializers.deserialize(format, text)).save()
    assert Declared.objects.get().dates == {"day": date(2024, 2, 29)}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("value", ["", "0", "envelope:", "envelope:abc", "ä\0\n<&>]]>", " a "])
def test_texts(format, value):
    Note.objects.create(text=value)
    text = serializers.serialize(format, Note.objects.all())
    next(serializers.deserialize(format, text)).save()
    assert Note.objects.get().text == value


@pytest.mark.parametrize("format", FORMATS)
def test_no_plaintext_in_what_dumpdata_writes(format):
    Note.objects.create(title="shown", text="hidden words", data={"hidden": "words"})
    text = dump("tests.Note", format=format)
    assert "shown" in text
    assert "hidden" not in text
    assert "words" not in text


def test_some_fields():
    Note.objects.create(title="t", text="x")
    (data,) = serializers.serialize("python", Note.objects.all(), fields=["text"])
    assert data["fields"].keys() == {"text"}
    assert data["fields"]["text"].startswith("envelope:")


def test_the_key_of_the_row():
    keys = [create_master_key("clinic-a"), create_master_key("clinic-b")]
    for key in keys:
        TenantNote.objects.create(tenant=key.alias, text="x", data=1)
    dumped = serializers.serialize("python", TenantNote.objects.order_by("tenant"))
    for key, data in zip(keys, dumped, strict=True):
        for name in ("text", "data"):
            version_id = version_of(decode_text(data["fields"][name]))
            assert version_id == bytes(key.current_version.version_id)


@pytest.mark.parametrize("format", FORMATS)
def test_a_fixture_that_is_not_loaded_is_dumped_as_it_is(format):
    text = serializers.serialize(format, [Note(pk=1, text="a", data=[1])])
    objects = [loaded.object for loaded in serializers.deserialize(format, text)]
    assert serializers.serialize(format, objects) == text


def test_proxies_and_parents():
    restaurant = Restaurant.objects.create(secret="parent", menu=["soup"])
    (child,) = serializers.serialize("python", [restaurant])
    assert child["fields"].keys() == {"menu"}  # the parent is an object of its own
    (proxy,) = serializers.serialize("python", PlaceProxy.objects.all())
    assert proxy["model"] == "tests.placeproxy"
    assert proxy["fields"]["secret"].startswith("envelope:")


def test_yaml_without_pyyaml(monkeypatch):
    """The error is Django's own, when the format is first used."""
    for name in [*sys.modules]:
        if name in ("yaml", "django.core.serializers.pyyaml", "envelope_fields.serializers.yaml"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("django.core.serializers.pyyaml", raising=False)
    imported = builtins.__import__

    def without_yaml(name, *args, **kwargs):
        if name == "yaml":
            raise ImportError("No module named yaml")
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_yaml)
    monkeypatch.setattr(serializers, "_serializers", {})
    assert "yaml" in serializers.get_public_serializer_formats()
    with pytest.raises(ImportError, match="No module named yaml"):
        serializers.serialize("yaml", [])
    with pytest.raises(ImportError, match="No module named yaml"):
        serializers.deserialize("yaml", "[]")
