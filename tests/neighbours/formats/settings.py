from tests import databases
from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import INSTALLED_APPS
from tests.neighbours.formats.old_build import FERNET_KEYS, SECRET_KEY  # noqa: F401 - settings
from tests.settings import PREFIX

INSTALLED_APPS = [*INSTALLED_APPS, "tests.neighbours.formats"]
DATABASES = {
    "default": {**databases.postgresql(), "NAME": PREFIX},
    "mariadb": {**databases.mariadb(), "NAME": PREFIX, "TEST": {"CHARSET": "utf8mb4"}},
}
