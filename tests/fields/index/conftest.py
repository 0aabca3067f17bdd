"""The tables of the models with blind indexes, which are in no migration."""

import pytest
from django.db import connection

from tests.models.indexed import MODELS


@pytest.fixture(scope="package")
def _tables(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        with connection.schema_editor() as editor:
            for model in MODELS:
                editor.create_model(model)
        yield
        with connection.schema_editor() as editor:
            for model in reversed(MODELS):
                editor.delete_model(model)


@pytest.fixture(autouse=True)
def tables(_tables, db):
    """Tables that are empty when a test begins."""
