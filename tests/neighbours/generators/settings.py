from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django_filters", "ninja", "tests.neighbours.generators"]
