"""Settings of django-otp's tests, with encrypted tokens."""

from test_project.settings import *  # noqa: F403 - of its tests
from test_project.settings import INSTALLED_APPS, MIDDLEWARE

from envelope_fields import testing
from swapped.databases import databases

DATABASES = databases("default")
INSTALLED_APPS = ["swapped.tokens", *INSTALLED_APPS, "envelope_fields"]
MIDDLEWARE = [*MIDDLEWARE, "envelope_fields.middleware.PrincipalMiddleware"]
# The tables of these are made as their models are, and those that they refer to before them.
MIGRATION_MODULES = dict.fromkeys(["auth", "contenttypes", "otp_static"])
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TEST_RUNNER = "swapped.unittest_refused.Runner"
ENVELOPE_FIELDS = testing.settings()
