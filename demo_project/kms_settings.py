"""Settings of the story with a KMS: the demo's, in a directory that lasts as long as the story."""

import json
import os
from pathlib import Path

from demo_project.settings import *  # noqa: F403 - the rest is the same
from demo_project.settings import DATABASES

DIRECTORY = Path(os.environ["CLINIC_KMS_DIRECTORY"])
DATABASES["default"]["NAME"] = DIRECTORY / "clinic.sqlite3"
# Times of seconds in the place of an hour, a day and a minute, so that the story is short.
ENVELOPE_FIELDS = {
    "ROOT_KEYS": json.loads((DIRECTORY / "root-keys.json").read_text()),
    "MATERIAL_MAX_AGE_SECONDS": 3,
    "GRACE_SECONDS": 60,
    "KEY_CACHE_SECONDS": 1,
}
# The story shows what goes wrong itself.
LOGGING = {
    "version": 1,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "loggers": {"envelope_fields": {"handlers": ["null"], "propagate": False}},
}
