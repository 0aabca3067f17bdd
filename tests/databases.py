"""Where the test databases are: read from the environment, the same for settings and matrix."""

import os
from typing import Any

NAMES = ("sqlite", "postgresql", "mariadb")


def postgresql() -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "PORT": int(os.environ.get("PGPORT", "5432")),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
    }


def mariadb() -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.mysql",
        "HOST": os.environ.get("MARIADB_HOST", "127.0.0.1"),
        "PORT": int(os.environ.get("MARIADB_PORT", "3306")),
        "USER": os.environ.get("MARIADB_USER", "root"),
        "PASSWORD": os.environ.get("MARIADB_PASSWORD", ""),
        "OPTIONS": {"charset": "utf8mb4"},
    }
