"""Runs are handed to the worker that the settings name; where there is none, a page says so."""

from __future__ import annotations

import logging

from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.translation import gettext as _

from envelope_fields.conf import SETTING
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import RotationRun
from envelope_fields.rotation import workers

logger = logging.getLogger("envelope_fields.rotation")


def worker_problem(command: str) -> str:
    """Say why no worker would work on a run, and which command does; empty where one would."""
    if not workers.is_there():
        return _(
            "Nobody would work on it: %(setting)s names no worker. Name one, or run this where "
            "the application runs: %(command)s"
        ) % {"setting": f'{SETTING}["ROTATION_WORKER"]', "command": command}
    try:
        workers.worker()
    except ImproperlyConfigured as error:
        return str(error)
    return ""


def hand_over(request: HttpRequest, run: RotationRun) -> bool:
    """Have the worker work on a run; where it cannot be reached, say so and return False.

    Raises:
        NoWorker, ImproperlyConfigured: there is none.
    """
    try:
        workers.send(run)
    except (EnvelopeError, ImproperlyConfigured):
        raise
    except Exception as error:  # each queue has errors of its own; their texts may hold addresses
        logger.error("The run %s could not be sent to its worker: %s", run.pk, type(error).__name__)
        messages.warning(
            request,
            _("The worker could not be reached (%(error)s). Resume the run when it can be.")
            % {"error": type(error).__name__},
        )
        return False
    return True
