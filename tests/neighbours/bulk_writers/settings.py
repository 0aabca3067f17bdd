from tests import databases
from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import INSTALLED_APPS
from tests.settings import PREFIX

DATABASES = {
    # Most of these packages know no other database.
    "default": {**databases.postgresql(), "ENGINE": "psqlextra.backend", "NAME": PREFIX}
}
INSTALLED_APPS = [*INSTALLED_APPS, "psqlextra", "tests.neighbours.bulk_writers"]
