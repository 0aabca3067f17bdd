"""Runs that are started where nobody can wait for them: the worker of the settings has them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from envelope_fields.lifecycle.context import expecting
from envelope_fields.lifecycle.keys import Key
from envelope_fields.models import MasterKey, RotationRun, RotationState
from envelope_fields.rotation import workers
from envelope_fields.rotation.idempotency import NOT_REPEATED, IdempotencyKey
from envelope_fields.rotation.runs import RunOrId, find_run, pause, resume, start

# Whoever made a run may have died before the worker was told of it, and the worker may have died
# since. It is told again where somebody asks for the same again, and nobody has been seen for so
# long: a client that asks again and again does not make a process each time.
SECONDS_OF_SILENCE = 10


def start_elsewhere(
    key: Key, *, idempotency_key: IdempotencyKey = NOT_REPEATED, **options: Any
) -> RotationRun:
    """Make a run and have the worker work on it.

    Args:
        key: the master key, its id or its alias.
        idempotency_key, **options: those of `start`.

    Returns:
        The run; or the first one, where this start was made before.

    Raises:
        NoWorker: there is none; no run is made.
        WorkerUnreachable: it could not be told; the run is failed, and starting again makes
            another.
        EnvelopeError: as `start` does.
    """
    now = timezone.now()
    run = idempotency_key.first_run()
    if run is None:
        workers.worker()
        run = start(key, idempotency_key=idempotency_key, **options)
    is_new = run.created_at >= now
    if run.state == RotationState.PENDING and (is_new or not _lately(run.created_at)):
        workers.send(run)
    return run


def resume_elsewhere(run: RunOrId, *, actor: Any = None) -> RotationRun:
    """Let a run go on, and have the worker work on it, also where another was lost.

    One that is being worked on is left to whoever does.

    Raises:
        NoWorker: there is none; nothing is changed.
        WorkerUnreachable: it could not be told; a run that rested is paused.
        EnvelopeError: as `resume` does.
    """
    workers.worker()
    before = find_run(run)
    now = resume(run, actor=actor)
    if before.state == RotationState.RUNNING and _lately(before.resumed_at, before.seen_at):
        return now
    with expecting(_anything):  # that it is what the caller has seen, was before it went on
        try:
            workers.send(now)
        except workers.WorkerUnreachable as error:
            if before.state == RotationState.RUNNING:
                raise
            raise workers.WorkerUnreachable(pause(now, actor=actor), error.cause) from error
    return now


def _lately(*moments: datetime | None) -> bool:
    """Whether one of some moments is not long ago."""
    since = timezone.now() - timedelta(seconds=SECONDS_OF_SILENCE)
    return any(moment > since for moment in moments if moment)


def _anything(key: MasterKey) -> None:
    """Let a key be whatever it is."""
