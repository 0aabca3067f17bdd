"""Serializers that the project puts in the place of ours."""

import sys
from types import ModuleType

import pytest
from django.apps import apps
from django.core.serializers import base, json, python, xml_serializer
from django.core.serializers.python import Deserializer

from envelope_fields.checks.serializers import check_serializers
from envelope_fields.fixtures import json as ours

pytestmark = pytest.mark.any_database


@pytest.fixture
def module(monkeypatch, settings):
    """Name a module with this Serializer in SERIALIZATION_MODULES, under this format."""

    def install(name, serializer):
        module = ModuleType("project_serializers")
        module.Serializer, module.Deserializer = serializer, Deserializer
        monkeypatch.setitem(sys.modules, "project_serializers", module)
        settings.SERIALIZATION_MODULES = {name: "project_serializers"}

    return install


def derived(parent):
    return type("Serializer", (parent,), {})


@pytest.mark.parametrize(
    ("name", "serializer"),
    [
        ("json", ours.Serializer),
        ("json", derived(ours.Serializer)),
        ("xml", derived(xml_serializer.Serializer)),
        ("csv", derived(base.Serializer)),
        ("geojson", derived(ours.Serializer)),
    ],
)
def test_a_sound_serializer_is_silent(name, serializer, module):
    module(name, serializer)
    assert check_serializers() == []


@pytest.mark.parametrize(
    ("name", "serializer"),
    [
        ("json", json.Serializer),
        ("json", derived(json.Serializer)),
        ("jsonl", derived(python.Serializer)),
        ("xml", derived(base.Serializer)),
        ("yaml", derived(base.Serializer)),
        ("geojson", derived(json.Serializer)),
    ],
)
def test_a_serializer_that_may_reveal_values_is_a_warning(name, serializer, module):
    module(name, serializer)
    (message,) = check_serializers()
    assert message.id == "envelope_fields.W050"
    assert f"SERIALIZATION_MODULES[{name!r}]" in message.msg


def test_no_setting_is_silent():
    assert check_serializers() == []


@pytest.mark.parametrize("path", ["nowhere.serializers", "json"])
def test_what_cannot_be_imported_is_left_to_django(path, settings):
    settings.SERIALIZATION_MODULES = {"json": path}
    assert check_serializers() == []


def test_without_encrypted_fields_nothing_is_revealed(module, registry):
    module("json", json.Serializer)
    assert check_serializers(registry.get_app_configs()) == []
    assert len(check_serializers([apps.get_app_config("auth")])) == 1
