"""Settings of the benchmark of rotations: keys and values are in one database."""

import os
import tempfile

from bench.settings import DEFAULT_AUTO_FIELD, ENVELOPE_FIELDS, INSTALLED_APPS, SERVERS, USE_TZ  # noqa: F401 - the rest is the same

# The processes of a run find both in their environment.
NAME = os.environ.setdefault("ENVELOPE_BENCH_NAME", f"envelope_rotation_{os.getpid()}")
KEY = os.environ.setdefault(
    "ENVELOPE_BENCH_KEY",
    ENVELOPE_FIELDS["ROOT_KEYS"]["default"]["OPTIONS"]["key"],  # type: ignore[index]  # a dict of settings
)
ENVELOPE_FIELDS["ROOT_KEYS"]["default"]["OPTIONS"]["key"] = KEY  # type: ignore[index]  # a dict of settings

VENDOR = os.environ["ENVELOPE_BENCH_VENDOR"]
FILE = os.path.join(tempfile.gettempdir(), f"{NAME}.sqlite3")
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FILE,
        "OPTIONS": {"timeout": 60, "transaction_mode": "IMMEDIATE"},
        "TEST": {"NAME": FILE},
    }
    if VENDOR == "sqlite"
    else {**SERVERS[VENDOR], "NAME": NAME, "TEST": {"NAME": NAME}}
}
