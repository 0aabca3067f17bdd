"""Settings of the test project. ENVELOPE_TEST_DB says on which database it runs."""

import atexit
import base64
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests import databases


def run_directory() -> Path:
    """One directory per test run; xdist's workers and child processes find it in the environment.

    It is made anew for each run, so that two runs at once do not meet.
    """
    if "ENVELOPE_TEST_DIR" not in os.environ:
        directory, owner = tempfile.mkdtemp(prefix="envelope-fields-"), os.getpid()
        os.environ["ENVELOPE_TEST_DIR"] = directory

        def remove() -> None:
            if os.getpid() == owner:  # a forked child that ends must not take it away
                shutil.rmtree(directory, ignore_errors=True)

        atexit.register(remove)
    return Path(os.environ["ENVELOPE_TEST_DIR"])


def sqlite(name: str) -> dict[str, Any]:
    """A file, not memory: threads and second connections have to see the same data."""
    path = str(run_directory() / f"{name}.sqlite3")
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {"timeout": 30},
        "TEST": {"NAME": f"{path}-test"},
    }


def database(name: str) -> dict[str, Any]:
    engine = os.environ.get("ENVELOPE_TEST_DB", "sqlite")
    if engine == "sqlite":
        return sqlite(name)
    if engine == "postgresql":
        return {**databases.postgresql(), "NAME": name}
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
    "tests",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
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

# A new root key for each run; child processes have to open what their parent wrote.
ROOT_KEY = os.environ.setdefault(
    "ENVELOPE_TEST_ROOT_KEY", base64.b64encode(os.urandom(32)).decode()
)
ENVELOPE_FIELDS = {
    "ROOT_KEYS": {
        "default": {
            "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
            "OPTIONS": {"key": ROOT_KEY},
        },
    },
}
