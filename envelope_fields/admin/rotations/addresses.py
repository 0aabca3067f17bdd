"""Where the pages of runs are."""

from __future__ import annotations

from urllib.parse import urlencode

from django.urls import reverse

from envelope_fields.models import MasterKey, RotationRun

_PREFIX = "admin:envelope_fields_rotationrun"


def url_of_run(run: RotationRun, name: str = "change", *args: str) -> str:
    """Return the address of a run's page, or of another one about it."""
    return reverse(f"{_PREFIX}_{name}", args=[run.pk, *args])


def url_of_runs(key: MasterKey) -> str:
    """Return the address of the list of a key's runs."""
    return f"{reverse(f'{_PREFIX}_changelist')}?{urlencode({'key': str(key.pk)})}"
