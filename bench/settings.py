"""Settings of the benchmark: a root key and databases that last as long as the run."""

import base64
import os
import tempfile

from tests import databases

NAME = f"envelope_bench_{os.getpid()}"
FOUND = [name for name in os.environ.get("ENVELOPE_BENCH_SERVERS", "").split(",") if name]

SQLITE_FILE = os.path.join(tempfile.gettempdir(), f"{NAME}.sqlite3")
SERVERS = {"postgresql": databases.postgresql(), "mariadb": databases.mariadb()}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": SQLITE_FILE,
        "TEST": {"NAME": SQLITE_FILE},
    },
    **{
        name: {**SERVERS[name], "NAME": NAME, "TEST": {"NAME": NAME, "CHARSET": charset}}
        for name, charset in (("postgresql", "UTF8"), ("mariadb", "utf8mb4"))
        if name in FOUND
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["envelope_fields", "bench"]
USE_TZ = True
ENVELOPE_FIELDS = {
    "ROOT_KEYS": {
        "default": {
            "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
            "OPTIONS": {"key": base64.b64encode(os.urandom(32)).decode()},
        },
    },
}
