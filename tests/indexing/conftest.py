"""The tables of the models with blind indexes, which alone are found."""

import pytest

from envelope_fields.census import columns
from tests.fields.index.conftest import _tables, tables  # noqa: F401
from tests.indexing.day import builds
from tests.models.indexed import MODELS
from tests.models.keyed import only


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(columns, "apps", only(*MODELS))


@pytest.fixture
def day(tmp_path, transactional_db):
    """Builds of a clinic, on one database."""
    with builds(tmp_path) as found:
        yield found
