"""Runs that are started where nobody can wait for them: the worker of the settings has them."""

from __future__ import annotations

from typing import Any

from envelope_fields.lifecycle.locking import Key, expecting
from envelope_fields.models import MasterKey, RotationRun, RotationState
from envelope_fields.rotation import workers
from envelope_fields.rotation.idempotency import NOT_REPEATED, IdempotencyKey
from envelope_fields.rotation.runs import RunOrId, find_run, pause, resume, start


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
    run = idempotency_key.first_run()
    if run is None:
        workers.worker()
        run = start(key, idempotency_key=idempotency_key, **options)
    if run.state == RotationState.PENDING:  # also a first one: who made it may have died then
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
