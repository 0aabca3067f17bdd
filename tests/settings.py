"""Settings of the test project. ENVELOPE_TEST_DB says on which database it runs."""

import base64
import os
import secrets
import tempfile
from typing import Any

from tests import databases

# Names this run, so that two at once do not meet. xdist's workers and the tests' child processes
# find both in their environment: they open what their parent made.
RUN = os.environ.setdefault("ENVELOPE_TEST_RUN", secrets.token_hex(4))
ROOT_KEY = os.environ.setdefault(
    "ENVELOPE_TEST_ROOT_KEY", base64.b64encode(os.urandom(32)).decode()
)


def sqlite(name: str) -> dict[str, Any]:
    """A file, not memory: threads and second connections have to see the same data."""
    path = os.path.join(tempfile.gettempdir(), f"{name}-{RUN}.sqlite3")
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        # No test needs what the disk has after the machine lost its power.
        "OPTIONS": {"timeout": 30, "init_command": "PRAGMA synchronous = OFF"},
        "TEST": {"NAME": f"{path}-test"},
    }


def database(name: str) -> dict[str, Any]:
    engine = os.environ.get("ENVELOPE_TEST_DB", "sqlite")
    if engine == "sqlite":
        return sqlite(name)
    if engine == "postgresql":
        # A crash of the server may lose what the tests wrote last, and they wait for no disk.
        options = {"options": "-c synchronous_commit=off"}
        return {**databases.postgresql(), "NAME": name, "OPTIONS": options}
    if engine == "mariadb":
        return {**databases.mariadb(), "NAME": name, "TEST": {"CHARSET": "utf8mb4"}}
    raise ValueError(f"ENVELOPE_TEST_DB is {engine!r}; it may be one of {databases.NAMES}.")


# Several people can run the tests on one server at once, each with a prefix of their own.
PREFIX = os.environ.get("ENVELOPE_TEST_DB_PREFIX", "envelope_fields")
DATABASES = {"default": database(PREFIX), "other": database(f"{PREFIX}_other")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "envelope_fields",
    "demo_project.clinic",
    "tests",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "envelope_fields.middleware.PrincipalMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
USE_TZ = True
SECRET_KEY = "only-for-tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast, for tests alone
ENVELOPE_FIELDS = {
    "ROOT_KEYS": {
        "default": {
            "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
            "OPTIONS": {"key": ROOT_KEY},
        },
    },
    "API": {"DATA_OPERATIONS": True},
}
