"""Where the settings name nobody who would work on a run, pages say so before there is one."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _

from envelope_fields.conf import SETTING
from envelope_fields.jobs import dispatch


def worker_problem(command: str) -> str:
    """Say why no worker would work on a run, and which command does; empty where one would."""
    try:
        dispatch.worker()
    except dispatch.NoWorker:
        return _(
            "Nobody would work on it: %(setting)s names no worker. Name one, or run this where "
            "the application runs: %(command)s"
        ) % {"setting": f'{SETTING}["ROTATION_WORKER"]', "command": command}
    except ImproperlyConfigured as error:
        return str(error)
    return ""
