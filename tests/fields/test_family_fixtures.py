"""Fixtures that were dumped of a plain field, before its column was encrypted."""

import pytest
from django.core import serializers
from django.db import models
from django.test.utils import isolate_apps

from tests.fields.family import FAMILY, exactly, plain
from tests.stored import stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


@pytest.mark.parametrize("name", FAMILY)
def test_they_are_loaded_and_encrypted(model, name, monkeypatch):
    kind = model(name, null=True)
    monkeypatch.setattr("django.apps.apps.get_model", lambda *_: kind)
    with isolate_apps("tests"):

        class Thing(models.Model):
            value = plain(name, null=True)
            twin = plain(name, null=True)

            class Meta:
                app_label = "tests"

    for value in [*FAMILY[name][1], None]:
        for format in ("json", "jsonl", "xml", "yaml", "python"):
            dumped = serializers.serialize(format, [Thing(pk=1, value=value, twin=value)])
            (loaded,) = serializers.deserialize(format, dumped)
            loaded.save()
            row = kind.objects.get()
            twin = bytes(row.twin) if isinstance(row.twin, memoryview) else row.twin
            # JSON of Django has milliseconds.
            assert exactly(row.value, twin if "json" in format else value)
            assert exactly(row.value, twin)
            assert (stored(row, "value") is None) == (value is None)
            kind.objects.all().delete()
