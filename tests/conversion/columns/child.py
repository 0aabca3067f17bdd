"""A step in a process of its own, on the test databases: what `OtherProcess` is told to do."""

from django.conf import settings
from django.core.management import call_command
from django.test import override_settings

from envelope_fields.census import columns
from tests.models import moving


def convert(label, to):
    """Bring a field to a phase, slowly."""
    columns.apps = moving.apps
    with override_settings(ENVELOPE_FIELDS={**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}):
        call_command("convert_field", label, to=to, batch_size=2, sleep=0.02)
