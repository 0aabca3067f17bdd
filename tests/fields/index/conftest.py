"""The tables of the models with blind indexes, which are in no migration."""

import pytest

from tests.models.indexed import MODELS
from tests.models.tables import made


@pytest.fixture(scope="package")
def _tables(django_db_setup, django_db_blocker):
    with made(MODELS, django_db_blocker):
        yield


@pytest.fixture(autouse=True)
def tables(_tables, db):
    """Tables that are empty when a test begins."""
