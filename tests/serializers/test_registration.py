"""Whose serializers Django uses."""

import pytest
from django.core import serializers

from envelope_fields.serializers import FORMATS, register


def used(format):
    return serializers.get_serializer(format).__module__, serializers.get_deserializer(
        format
    ).__module__


@pytest.mark.parametrize("format", FORMATS)
def test_ours(format):
    assert used(format)[0] == f"envelope_fields.serializers.{format}"


def test_ours_after_a_change_of_settings(settings):
    settings.SERIALIZATION_MODULES = {"json": "django.core.serializers.json"}
    assert used("json")[0] == "django.core.serializers.json"
    assert used("xml")[0] == "envelope_fields.serializers.xml"
    settings.SERIALIZATION_MODULES = {}
    assert used("json")[0] == "envelope_fields.serializers.json"


def test_the_settings_win_over_registering_late(settings):
    settings.SERIALIZATION_MODULES = {"json": "django.core.serializers.json"}
    serializers.get_serializer("json")  # load
    serializers.register_serializer("jsonl", "django.core.serializers.jsonl")
    register()
    assert used("json")[0] == "django.core.serializers.json"
    assert used("jsonl")[0] == "envelope_fields.serializers.jsonl"


def test_formats_for_people():
    """Python objects are what the other formats are made of, and not for `dumpdata`."""
    assert "python" not in serializers.get_public_serializer_formats()
    assert {"json", "jsonl", "xml", "yaml"} <= set(serializers.get_public_serializer_formats())
