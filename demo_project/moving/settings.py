"""Settings of the story with a live column: the demo's, in a directory that lasts as long as it."""

import os
from pathlib import Path

from demo_project.settings import *  # noqa: F403 - the rest is the same
from demo_project.settings import DATABASES, ENVELOPE_FIELDS, INSTALLED_APPS

DIRECTORY = Path(os.environ["CLINIC_MOVING_DIRECTORY"])
DATABASES["default"]["NAME"] = DIRECTORY / "clinic.sqlite3"
# The clinic and the commands write at once, and SQLite has one writer at a time: a transaction
# waits for its turn when it begins.
DATABASES["default"]["OPTIONS"]["transaction_mode"] = "IMMEDIATE"
# The story changes this application, hence a copy of it, in the same directory.
INSTALLED_APPS[INSTALLED_APPS.index("demo_project.clinic")] = "visits"
ENVELOPE_FIELDS["ROOT_KEYS"]["default"]["OPTIONS"] = {"file": str(DIRECTORY / "root.key")}
# A step waits as long as other processes go by what they knew: here not a minute, but this.
ENVELOPE_FIELDS["KEY_CACHE_SECONDS"] = 0.5
