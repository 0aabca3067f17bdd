"""The page that asks before values are moved, and has a worker do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from envelope_fields.admin import counts
from envelope_fields.admin.acts.base import name_of
from envelope_fields.admin.rotations.forms import StartForm
from envelope_fields.admin.rotations.no_worker import worker_problem
from envelope_fields.admin.rotations.plan import plan
from envelope_fields.admin.shown import as_shown, rotations_shown
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.models import KeyState, MasterKey, RotationRun
from envelope_fields.policy import acting_as
from envelope_fields.rotation import RotationUnderWay, active_run
from envelope_fields.rotation.runs import start_dispatched

BUTTON = gettext_lazy("Move values")
_TEMPLATE = "admin/envelope_fields/rotationrun/start.html"
_LOOK = "look"  # the name of the button that only shows the numbers

UrlOfRun = Callable[[RotationRun], str]


def answer(
    request: HttpRequest, key: MasterKey, url: UrlOfRun, context: dict[str, Any]
) -> HttpResponse:
    """Show what moving the values under a key will do, or start it.

    Args:
        request: whoever asks is known to have the right.
        key: the master key.
        url: returns where to go afterwards.
        context: what the page has besides.

    Raises:
        EnvelopeError, ImproperlyConfigured: it is not possible, or the policy refused it after all.
    """
    count = counts.for_a_page()
    form = StartForm(key, request.user, count, request.POST or None)
    if request.method == "POST" and _LOOK not in request.POST and form.is_valid():
        with as_shown(request, key, rotations_shown):
            run = _started(request, key, form)
        return redirect(url(run))
    _refuse_unless_possible(key)
    problem = worker_problem(f"python manage.py rewrap --key {key}")
    with acting_as(request.user):
        asked = plan(key, count, form.chosen(), form.rate)
    return TemplateResponse(
        request,
        _TEMPLATE,
        {
            **context,
            "title": f"{BUTTON}: {name_of(key)}",
            "button": BUTTON,
            "look": _LOOK,
            "consequences": asked.lines(),
            "rows": asked.rows,
            "count": count,
            "form": form,
            "shown": rotations_shown(key),
            "problem": problem,
            "can_be_done": not problem,
            "has_work": asked.values > 0,
            "media": context["media"] + form.media,
        },
    )


def is_possible(key: MasterKey) -> bool:
    """Whether a run of a key could be started now."""
    return key.state == KeyState.ENABLED and active_run(key) is None


def _started(request: HttpRequest, key: MasterKey, form: StartForm) -> RotationRun:
    run = start_dispatched(key, **form.chosen(), limits=form.limits(), actor=request.user)
    messages.success(request, _("The values under %(key)s are being moved.") % {"key": key})
    return run


def _refuse_unless_possible(key: MasterKey) -> None:
    if key.state != KeyState.ENABLED:
        raise MasterKeyUnusable(
            _("%(what)s is %(state)s: there is nothing to do here.")
            % {"what": name_of(key), "state": key.get_state_display()}
        )
    under_way = active_run(key)
    if under_way is not None:
        raise RotationUnderWay(key, under_way)
