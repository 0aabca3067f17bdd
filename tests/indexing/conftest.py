"""The tables of the models with blind indexes, which alone are found."""

import pytest

from envelope_fields.census import columns
from envelope_fields.models import KeyCacheBound
from tests.fields.index.conftest import _tables, tables  # noqa: F401
from tests.models.indexed import MODELS
from tests.models.keyed import only


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(columns, "apps", only(*MODELS))


@pytest.fixture
def known_at_once(db, settings):
    """Have no process go by what it knew of keys before."""
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    KeyCacheBound.objects.update(seconds=0, seconds_before=0, lowered_at=None)
