import pytest
from django.conf import settings
from django.test import override_settings


@pytest.fixture(autouse=True)
def at_once_known():
    """Other processes know of a change at once, so that shredding does not wait."""
    with override_settings(ENVELOPE_FIELDS={**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}):
        yield
