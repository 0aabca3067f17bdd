"""Models of the family, each with a table while its test runs."""

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from tests.fields.family import encrypted, plain

OURS = {"key", "context", "previous_contexts", "copy_of", "on_denied"}


@pytest.fixture
def model():
    """Return a function that makes a model, and its table, with a field and its plain twin."""
    made = []

    def make(name, **options):
        with isolate_apps("tests"):

            class Thing(models.Model):
                value = encrypted(name, **options)
                twin = plain(name, **{each: options[each] for each in options.keys() - OURS})

                class Meta:
                    app_label = "tests"

        with connection.schema_editor() as editor:
            editor.create_model(Thing)
        made.append(Thing)
        return Thing

    yield make
    for each in made:
        with connection.schema_editor() as editor:
            editor.delete_model(each)
