"""Settings of the test project as a server has it, on the databases of the test that started it.

Whoever is started by the server finds them, too: such as the process that works on a rotation.
"""

import json
import os

from tests.settings import *  # noqa: F403 - the rest is the same
from tests.settings import DATABASES, ENVELOPE_FIELDS

_NAMES = json.loads(os.environ["SERVED_DATABASES"])
DATABASES = {alias: {**DATABASES[alias], "NAME": name} for alias, name in _NAMES.items()}
ALLOWED_HOSTS = ["127.0.0.1"]
ENVELOPE_FIELDS = {
    **ENVELOPE_FIELDS,
    "ROTATION_WORKER": {"BACKEND": os.environ["SERVED_WORKER"]},
}
# What went wrong in the server is shown with the test that fails for it.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"django.request": {"handlers": ["stderr"], "level": "ERROR"}},
}
