"""Columns in clear that become encrypted ones."""

import pytest

from tests.models import moving


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The models of these tests alone."""
    monkeypatch.setattr("envelope_fields.census.columns.apps", moving.apps)


@pytest.fixture(autouse=True)
def without_caches(settings, request):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
