"""Columns in clear that become encrypted ones."""

import pytest

from tests.models import moving


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The models of these tests alone, and processes that know a phase at once."""
    monkeypatch.setattr("envelope_fields.census.columns.apps", moving.apps)
    monkeypatch.setattr("envelope_fields.conversion.column_phases.SECONDS_BETWEEN_LOOKS", 0.01)


@pytest.fixture(autouse=True)
def without_caches(settings, request):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
