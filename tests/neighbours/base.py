"""What the projects have in common: an admin, users, and this package."""

from tests.settings import *  # noqa: F403 - the rest is the same
from tests.settings import INSTALLED_APPS as _OF_THE_TESTS

INSTALLED_APPS = [
    app for app in _OF_THE_TESTS if app not in ("tests", "demo_project.clinic", "rest_framework")
]
ROOT_URLCONF = "tests.neighbours.urls"
