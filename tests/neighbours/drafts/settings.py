from tests.neighbours.base import *  # noqa: F403 - the rest is the same
from tests.neighbours.base import INSTALLED_APPS

WAGTAIL = ["snippets", "users", "documents", "images", "admin", "sites"]
INSTALLED_APPS = [
    *(f"wagtail.{app}" for app in WAGTAIL),
    "wagtail",
    "wagtail_localize",
    "wagtail_localize.locales",
    "modelcluster",
    "taggit",
    *INSTALLED_APPS,
    "tests.neighbours.drafts",
]
ROOT_URLCONF = "tests.neighbours.drafts.urls"
LANGUAGES = WAGTAIL_CONTENT_LANGUAGES = [("en", "English"), ("fr", "French")]
WAGTAIL_I18N_ENABLED = True
WAGTAIL_SITE_NAME = "drafts"
WAGTAILADMIN_BASE_URL = "http://testserver"
# Its hundreds of migrations would take most of the time.
LABELS = ["admin", "core", "docs", "images", "snippets", "users"]
MIGRATION_MODULES = {
    **{f"wagtail{label}": None for label in LABELS},
    "taggit": None,
    "wagtail_localize": None,
}
