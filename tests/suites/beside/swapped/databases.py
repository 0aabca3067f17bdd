"""The databases of a suite: those of our tests, for two aliases or one."""

import os
import runpy
from pathlib import Path

_OURS = runpy.run_path(str(Path(__file__).parents[3] / "databases.py"))
_PREFIX = os.environ.get("ENVELOPE_TEST_DB_PREFIX", "envelope_fields")


def databases(*aliases):
    """Return the setting DATABASES for the database that ENVELOPE_TEST_DB names."""
    engine = os.environ.get("ENVELOPE_TEST_DB", "sqlite")
    if engine == "sqlite":
        return {alias: {"ENGINE": "django.db.backends.sqlite3"} for alias in aliases}
    return {alias: {**_OURS[engine](), "NAME": f"{_PREFIX}_suite_{alias}"} for alias in aliases}
