"""The Celery application of the tests; workers of it are started as programs.

ENVELOPE_TEST_BROKER and ENVELOPE_TEST_QUEUE say where they look for tasks, and
ENVELOPE_TEST_DATABASES where the test databases are.
"""

import json
import os

import django
from celery import Celery
from django.conf import settings
from django.db import connections

from tests.celery_conf import conf

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
settings.ENVELOPE_FIELDS["ROTATION_WORKER"] = {
    "BACKEND": "envelope_fields.jobs.workers.celery.CeleryWorker"
}
django.setup()
for alias, name in json.loads(os.environ["ENVELOPE_TEST_DATABASES"]).items():
    connections[alias].settings_dict["NAME"] = name

app = Celery("tests")
app.conf.update(conf(os.environ))
