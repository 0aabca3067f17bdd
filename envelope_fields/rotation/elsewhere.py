"""Runs that are started where nobody can wait for them: the worker of the settings has them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from envelope_fields.lifecycle.locking import Key, expecting
from envelope_fields.models import MasterKey, RotationRun, RotationState
from envelope_fields.rotation import workers
from envelope_fields.rotation.idempotency import NOT_REPEATED, IdempotencyKey
from envelope_fields.rotation.runs import RunOrId, find_run, pause, resume, start

# Whoever made a run may have died before the worker was told of it: one that nobody has begun for
# so long is told of again, when its start is sent again.
SECONDS_TO_BEGIN = 10


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
    being_told = now - timedelta(seconds=SECONDS_TO_BEGIN) < run.created_at < now
    if run.state == RotationState.PENDING and not being_told:
        workers.send(run)
    return run


def resume_elsewhere(run: RunOrId, *, actor: Any = None) -> RotationRun:
    """Let a run go on, and have the worker work on it, also where another was lost.

    Raises:
        NoWorker: there is none; nothing is changed.
        WorkerUnreachable: it could not be told; a run that rested is paused.
        EnvelopeError: as `resume` does.
    """
    workers.worker()
    before = find_run(run).state
    now = resume(run, actor=actor)
    with expecting(_anything):  # that it is what the caller has seen, was before it went on
        try:
            workers.send(now)
        except workers.WorkerUnreachable as error:
            if before == RotationState.RUNNING:
                raise
            raise workers.WorkerUnreachable(pause(now, actor=actor), error.cause) from error
    return now


def _anything(key: MasterKey) -> None:
    """Let a key be whatever it is."""
