from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import INSTALLED_APPS as _OF_ALL

# Ours stands last, behind the one whose user needs a key.
INSTALLED_APPS = [
    *(app for app in _OF_ALL if app != "envelope_fields"),
    "tests.neighbours.permissions",
    "guardian",
    "envelope_fields",
]
AUTH_USER_MODEL = "permissions.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
]
