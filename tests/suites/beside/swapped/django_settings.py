"""Settings of Django's own tests; their runner adds the applications."""

from test_sqlite import *  # noqa: F403 - of Django's tests

from envelope_fields import testing
from swapped.databases import databases

DATABASES = databases("default", "other")
TEST_RUNNER = "swapped.unittest_refused.Runner"
ENVELOPE_FIELDS = testing.settings()
