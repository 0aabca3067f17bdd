"""What tests of rotations over HTTP have in common."""

import pytest
from django.conf import settings as project

from tests.api import url
from tests.rotation import put
from tests.stored import stored

# Whoever is told of a run is told after the commit.
committing = pytest.mark.django_db(transaction=True, databases="__all__")

ROTATIONS = url("rotations")


def run_url(run, *parts):
    return url("rotations", run.pk, *parts)


def start(client, **content):
    """Start a rotation of the key `tenant`, or what else is said."""
    return client.post(ROTATIONS, {"key": "alias:tenant", **content})


def with_worker(settings, name):
    """Have the settings name one of `tests.api.workers`."""
    entry = {"BACKEND": f"tests.api.workers.{name}"}
    settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "ROTATION_WORKER": entry}


def without_worker(settings):
    ours = settings.ENVELOPE_FIELDS
    settings.ENVELOPE_FIELDS = {name: ours[name] for name in ours if name != "ROTATION_WORKER"}


def alter(note):
    """Change a bit of what is stored, so that it cannot be opened."""
    content = bytearray(stored(note, "text"))
    content[40] ^= 1
    put(note, "text", bytes(content))
