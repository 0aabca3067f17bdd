"""Pause, resume and cancel: what each will do, in numbers, before it is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from envelope_fields.admin.acts.base import values_text
from envelope_fields.admin.rotations.no_worker import worker_problem
from envelope_fields.admin.rotations.telling import done_text, is_quiet, run_text
from envelope_fields.admin.shown import as_shown, shown
from envelope_fields.models import RotationRun, RotationState
from envelope_fields.rotation import (
    Progress,
    RunNotPossible,
    cancel,
    pause,
    progress,
)
from envelope_fields.jobs.dispatch import dispatch_resume

_TEMPLATE = "admin/envelope_fields/masterkey/confirm.html"


class RunAct(ABC):
    """One act on one run: its words, and the call that does it.

    Attributes:
        name: the act, as addresses and scripts name it.
        button: what stands on its button.
        is_grave: whether it cannot be taken back.
    """

    name: ClassVar[str]
    button: ClassVar[str | Promise]
    is_grave: ClassVar[bool] = False

    def __init__(self, run: RotationRun, request: HttpRequest) -> None:
        self.run = run
        self.request = request

    @classmethod
    def is_possible(cls, run: RotationRun) -> bool:
        """Whether it changes something now."""
        return run.is_active

    @property
    def problem(self) -> str:
        """Why it cannot be done here; empty where it can."""
        return ""

    @cached_property
    def progress(self) -> Progress:
        return progress(self.run)

    @abstractmethod
    def consequences(self) -> list[str]:
        """Say what will be different afterwards, in numbers."""

    @abstractmethod
    def perform(self) -> None:
        """Do it, and say so."""


class Pause(RunAct):
    name = "pause"
    button = gettext_lazy("Pause")

    @classmethod
    def is_possible(cls, run: RotationRun) -> bool:
        return run.state in (RotationState.PENDING, RotationState.RUNNING)

    def consequences(self) -> list[str]:
        return [
            _("It rests as soon as the batch that is under way is done, until it is resumed."),
            _("So far: %(done)s.") % {"done": done_text(self.run, self.progress)},
            _("All values can be read and written meanwhile."),
        ]

    def perform(self) -> None:
        pause(self.run, actor=self.request.user)
        messages.success(self.request, _("The run is paused."))


class Resume(RunAct):
    name = "resume"
    button = gettext_lazy("Resume")

    @classmethod
    def is_possible(cls, run: RotationRun) -> bool:
        return run.state == RotationState.PAUSED or is_quiet(run)

    @cached_property
    def problem(self) -> str:
        return worker_problem(f"python manage.py rewrap --run {self.run.pk}")

    def consequences(self) -> list[str]:
        return [
            _("It is handed to a worker, which goes on where it was."),
            _("So far: %(done)s.") % {"done": done_text(self.run, self.progress)},
        ]

    def perform(self) -> None:
        dispatch_resume(self.run, actor=self.request.user)
        messages.success(self.request, _("The run goes on."))


class Cancel(RunAct):
    name = "cancel"
    button = gettext_lazy("Cancel run")
    is_grave = True

    def consequences(self) -> list[str]:
        return [
            _("It ends where it is. To go on, another run has to be started."),
            _("What was moved stays so: %(values)s.")
            % {"values": values_text(self.progress.moved)},
            _("What was not moved can be read as before, and stays under its version."),
        ]

    def perform(self) -> None:
        cancel(self.run, actor=self.request.user)
        messages.success(self.request, _("The run is cancelled."))


# In the order of the buttons.
ACTS: dict[str, type[RunAct]] = {act.name: act for act in (Pause, Resume, Cancel)}


def possible_acts(run: RotationRun) -> list[str]:
    """Return the names of what can be done with a run now."""
    return [name for name, act in ACTS.items() if act.is_possible(run)]


def answer(
    request: HttpRequest, run: RotationRun, name: str, back: str, context: dict[str, Any]
) -> HttpResponse:
    """Show what an act on a run will do, or do it.

    Args:
        request: whoever asks is known to have the right.
        run: the run.
        name: the name of the act.
        back: where to go afterwards.
        context: what the page has besides.

    Raises:
        EnvelopeError, ImproperlyConfigured: it is not possible, or the policy refused it after all.
    """
    act = ACTS[name](run, request)
    if request.method == "POST":  # what is not possible meets the rotation, which says why
        with as_shown(request, run):
            act.perform()
        return redirect(back)
    if not act.is_possible(run):
        raise RunNotPossible(
            _("The run is %(state)s: there is nothing to do here.")
            % {"state": run.get_state_display()}
        )
    return TemplateResponse(
        request,
        _TEMPLATE,
        {
            **context,
            "title": f"{act.button}: {run_text(run)}",
            "page": act,
            "shown": shown(run),
            "problem": act.problem,
            "can_be_done": not act.problem,
            "consequences": act.consequences(),
            "back": back,
        },
    )
