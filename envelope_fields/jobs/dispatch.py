"""Runs that are started where no process can wait for them: they are given to a worker.

A start that is sent twice, because an answer was lost, is answered with the first run. What it is
known by is in the row of its run: it is made in the same transaction, is there as long as the run
is, and takes no room of its own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils.module_loading import import_string

from envelope_fields import databases
from envelope_fields.conf import SETTING, configuration
from envelope_fields.crypto.context import encode
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.runs import RunOrId, all_runs, ended, find_run, pause, resume
from envelope_fields.jobs.workers import RotationWorker
from envelope_fields.lifecycle.context import expecting
from envelope_fields.models import RotationRun, RotationState
from envelope_fields.policy import Principal

logger = logging.getLogger("envelope_fields.rotation")

# The process that made a run may have died before the worker was given it, and the worker may have
# died since. It is given again where the same is asked for again, and there was no heartbeat for
# so long: a client that asks again and again does not make a process each time.
SECONDS_OF_SILENCE = 10

_DOMAIN = b"rotation-start-v1"


class NoWorker(EnvelopeError):
    """The settings name no worker for a run."""

    def __init__(self) -> None:
        super().__init__(
            f'{SETTING}["ROTATION_WORKER"] names no worker, so a run that is started here would '
            "never be worked on. Name one, or run the command instead, such as `python manage.py "
            "rewrap` or `rebuild_indexes`."
        )


class WorkerUnreachable(EnvelopeError):
    """The worker that the settings name could not be given a run.

    Attributes:
        run: the run, as it is now.
        cause: the class of the error.
    """

    def __init__(self, run: RotationRun, cause: str) -> None:
        super().__init__(
            f"The worker could not be given the rotation {run.pk} ({cause}), which is "
            f"{run.state} now. See that the worker's queue answers, and try again."
        )
        self.run = run
        self.cause = cause


# The worker


def register() -> None:
    """Import the worker that the settings name: task queues know the tasks that are imported."""
    with suppress(ImportError, ImproperlyConfigured):  # checks report them
        entry = configuration().rotation_worker
        if entry is not None:
            import_string(entry.backend)


def worker() -> RotationWorker:
    """Return the worker that the settings name.

    Raises:
        NoWorker: they name none.
        ImproperlyConfigured: it cannot be made.
    """
    entry = configuration().rotation_worker
    if entry is None:
        raise NoWorker
    return entry.make(RotationWorker)  # type: ignore[type-abstract]


def send(run: RotationRun) -> None:
    """Have the worker work on a run, once it is committed.

    Raises:
        NoWorker, ImproperlyConfigured: as `worker` does.
        WorkerUnreachable: it could not be given the run. The run is failed if it has not begun, so
            that none waits endlessly; else it is as it was. Raised by the commit, where there is
            one.
    """
    chosen = worker()
    transaction.on_commit(lambda: _give(chosen, run), using=configuration().database)


def _give(chosen: RotationWorker, run: RotationRun) -> None:
    try:
        chosen.begin(run.pk)
    except Exception as error:
        logger.exception("The worker could not be given the rotation %s", run.pk)
        if find_run(run).state != run.state:
            return  # it was given, and worked on at once: what went wrong is in the run
        cause = type(error).__name__
        message = f"No worker could be given the run: {cause}."
        failed = ended(run, RotationState.FAILED, message, expected=RotationState.PENDING)
        raise WorkerUnreachable(failed, cause) from error


# Starts that may be sent twice


class IdempotencyKeyReused(EnvelopeError):
    """Something else was started with the same idempotency key; `run` is what it started."""

    def __init__(self, run: RotationRun) -> None:
        super().__init__(
            f"The rotation {run.pk} was started with this idempotency key, and something else was "
            "asked for then. Take a new key for a new start."
        )
        self.run = run


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What a client calls one start, as the row of its run has it.

    Attributes:
        token: a digest of the name, and of whose it is; None if it has none. Databases do not
            agree on which texts are the same.
        digest: of what is asked for.
    """

    token: str | None
    digest: str

    @classmethod
    def of(cls, principal: Principal, name: str, asked: Mapping[str, Any]) -> IdempotencyKey:
        """Return the key of a principal's start.

        Args:
            principal: who starts. Others may use the same name for something else.
            name: what they call it.
            asked: what they ask for; text, numbers, None, lists and dictionaries of these.
        """
        whose = [principal.type.encode(), principal.id.encode(), name.encode()]
        text = json.dumps(asked, sort_keys=True)
        return cls(_digest(encode([_DOMAIN, *whose])), _digest(text.encode()))

    def first_run(self) -> RotationRun | None:
        """Return the run that was started with it, if there is one.

        Raises:
            IdempotencyKeyReused: it is not what is asked for now.
        """
        if self.token is None:
            return None
        run = all_runs().filter(start_token=self.token).first()
        if run is not None and run.start_digest != self.digest:
            raise IdempotencyKeyReused(run)
        return run


NOT_REPEATED = IdempotencyKey(None, "")


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


# Starting and resuming


def dispatch_start(
    start: Callable[[], RotationRun], idempotency_key: IdempotencyKey = NOT_REPEATED
) -> RotationRun:
    """Make a run and have the worker work on it.

    Args:
        start: makes the run.
        idempotency_key: by which a start that comes again is known.

    Returns:
        The run; or the first one, where this start was made before.

    Raises:
        NoWorker: there is none; no run is made.
        WorkerUnreachable: it could not be given the run, which is failed; starting again makes
            another.
        EnvelopeError: as `start` does.
    """
    now = databases.now()
    run = idempotency_key.first_run()
    if run is None:
        worker()
        run = start()
    is_new = run.created_at >= now
    if run.state == RotationState.PENDING and (is_new or not _lately(run.created_at)):
        send(run)
    return run


def dispatch_resume(run: RunOrId, *, actor: Any = None) -> RotationRun:
    """Let a run go on, and have the worker work on it, also where another was lost.

    One that is being worked on is left to the process that does.

    Raises:
        NoWorker: there is none; nothing is changed.
        WorkerUnreachable: it could not be given the run; one that rested is paused.
        EnvelopeError: as `resume` does.
    """
    worker()
    before = find_run(run)
    now = resume(run, actor=actor)
    if before.state == RotationState.RUNNING and _lately(before.resumed_at, before.heartbeat_at):
        return now
    # Any row: that it is what the caller has seen, was before it went on.
    with expecting(lambda row: None):
        try:
            send(now)
        except WorkerUnreachable as error:
            if before.state == RotationState.RUNNING:
                raise
            raise WorkerUnreachable(pause(now, actor=actor), error.cause) from error
    return now


def _lately(*moments: datetime | None) -> bool:
    """Whether one of some moments is not long ago."""
    since = databases.now() - timedelta(seconds=SECONDS_OF_SILENCE)
    return any(moment > since for moment in moments if moment)
