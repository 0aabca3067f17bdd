from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import INSTALLED_APPS

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "rest_framework",
    "phonenumber_field",
    "djmoney",
    "django_ckeditor_5",
    "django_countries",
    "tests.neighbours.value_fields",
]
