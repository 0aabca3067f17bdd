"""The test project for a real server, on the databases of the test that started it."""

import json
import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connections

application = get_wsgi_application()
settings.ALLOWED_HOSTS = ["127.0.0.1"]
for alias, name in json.loads(os.environ["SERVED_DATABASES"]).items():
    connections[alias].settings_dict["NAME"] = name
