"""Where the pages of runs are; empty on a site that does not have them."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest

from envelope_fields.admin.addresses import address
from envelope_fields.models import MasterKey, RotationRun


def url_of_run(request: HttpRequest, run: RotationRun, name: str = "change", *args: str) -> str:
    """Return the address of a run's page, or of another one about it."""
    return address(request, f"rotationrun_{name}", run.pk, *args)


def url_of_runs(request: HttpRequest, key: MasterKey) -> str:
    """Return the address of the list of a key's runs."""
    listed = address(request, "rotationrun_changelist")
    return listed and f"{listed}?{urlencode({'key': str(key.pk)})}"
