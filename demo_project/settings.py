"""Settings of the demo. It runs on one machine, for one person: do not serve it to others."""

from django.core.management.utils import get_random_secret_key

from demo_project import place

# The root key is in a file that only you can read, outside of the database and of this
# repository. `python -m demo_project.story` makes it, and so does `generate_root_key --file`.
ENVELOPE_FIELDS = {
    "ROOT_KEYS": {
        "default": {
            "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
            "OPTIONS": {"file": str(place.root_key())},
        },
    },
    # Values that are moved from the admin are moved by a process beside the server.
    "ROTATION_WORKER": {"BACKEND": "envelope_fields.jobs.workers.process.ProcessWorker"},
}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": place.database(),
        "OPTIONS": {"timeout": 30},
    },
}
# A new one each time, so that none is ever committed: logins end with the server.
SECRET_KEY = get_random_secret_key()
# It serves the admin's styles. Django answers on the loopback interface alone.
DEBUG = True
# Values of patients stay out of the page that DEBUG shows when something fails.
DEFAULT_EXCEPTION_REPORTER_FILTER = "envelope_fields.reporting.EncryptedFieldsReporterFilter"
DEFAULT_EXCEPTION_REPORTER = "envelope_fields.reporting.EncryptedFieldsReporter"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "demo_project.clinic",
    "envelope_fields",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "envelope_fields.middleware.PrincipalMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "demo_project.urls"
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The story shows its errors itself.
LOGGING = {
    "version": 1,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "loggers": {"envelope_fields.fields": {"handlers": ["null"]}},
}
