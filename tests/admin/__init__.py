"""The key admin: officers with rights on keys, and those without.

Django looks here for the admin of the test project, too.
"""

from contextlib import contextmanager

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import override_settings
from django.urls import reverse

from envelope_fields.grants import grant
from envelope_fields.keyring.age import cache_seconds
from envelope_fields.models import AuditEvent
from envelope_fields.policy import APPLICATION, Action
from tests.admin import registered  # noqa: F401 - registers with the admin site


def officer(name="olga", *, permissions="*", key=None, actions=tuple(Action), **extra):
    """Make a user of the admin with permissions of this app, and rights on a key."""
    user = User.objects.create_user(name, password="secret", is_staff=True, **extra)
    of_app = Permission.objects.filter(content_type__app_label="envelope_fields")
    user.user_permissions.set(
        of_app if permissions == "*" else of_app.filter(codename__in=permissions)
    )
    if key is not None:
        grant(key, user, actions, actor=APPLICATION)
    return user


def page_of(key):
    """Return the address of a key's page."""
    return reverse("admin:envelope_fields_masterkey_change", args=[key.pk])


def said(response):
    """Return the messages that a page shows."""
    return [str(message) for message in response.context["messages"]]


def last_event():
    return AuditEvent.objects.latest("number")


@contextmanager
def knowing_keys():
    """Let this process know keys for a while, where a test has it read them for each value."""
    with override_settings(ENVELOPE_FIELDS={**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 60}):
        cache_seconds()  # raises the bound, which SQLite does not do in a transaction
        yield
