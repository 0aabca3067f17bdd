"""Runs that are started where nobody can wait for them: the worker of the settings has them."""

from __future__ import annotations

from typing import Any

from envelope_fields.lifecycle.locking import Key
from envelope_fields.models import RotationRun, RotationState
from envelope_fields.rotation import workers
from envelope_fields.rotation.runs import RunOrId, find_run, pause, resume, start


def start_elsewhere(key: Key, **options: Any) -> RotationRun:
    """Make a run and have the worker work on it.

    Args:
        key: the master key, its id or its alias.
        **options: those of `start`.

    Raises:
        NoWorker: there is none; no run is made.
        WorkerUnreachable: it could not be told; the run is failed, and starting again makes
            another.
        EnvelopeError: as `start` does.
    """
    workers.worker()
    run = start(key, **options)
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
    try:
        workers.send(now)
    except workers.WorkerUnreachable as error:
        if before == RotationState.RUNNING:
            raise
        raise workers.WorkerUnreachable(pause(now, actor=actor), error.cause) from error
    return now
