"""Settings of django-allauth's tests, with encrypted users and addresses."""

from tests.projects.regular.settings import *  # noqa: F403 - of its tests
from tests.projects.regular.settings import INSTALLED_APPS, MIDDLEWARE

from envelope_fields import testing
from swapped.databases import databases

DATABASES = databases("default")
INSTALLED_APPS = [
    "swapped.users.Users", "swapped.addresses.Addresses", *INSTALLED_APPS, "envelope_fields",
]  # fmt: skip
MIDDLEWARE = [*MIDDLEWARE, "envelope_fields.middleware.PrincipalMiddleware"]
# The tables of these are made as their models are, which have other columns than they declare; and
# those that they refer to, before them.
MIGRATION_MODULES = dict.fromkeys(["account", "auth", "contenttypes", "sites", "socialaccount"])
ENVELOPE_FIELDS = testing.settings()
