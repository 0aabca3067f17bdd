"""Running a rotation in this process."""

from __future__ import annotations

from typing import Any

from envelope_fields.lifecycle.keys import Key
from envelope_fields.models import RotationRun, RotationState
from envelope_fields.rotation.runs import find_run, resume, start
from envelope_fields.rotation.working import Watcher, _unwatched, work


def run(
    run_or_key: RotationRun | Key, *, watch: Watcher = _unwatched, **options: Any
) -> RotationRun:
    """Work on a run in this process until it is over; a key gets a new run first.

    Args:
        run_or_key: a run, which is resumed if it was paused; or a master key, its id or alias.
        watch: called after each batch, with its `Tally`.
        **options: with a key, those of `start`.

    Returns:
        The run: completed, or paused or cancelled by somebody.

    Raises:
        EnvelopeError: as `start` does; or the run cannot go on, and is failed: nobody may move the
            values, or their key cannot be used.
        Error: the database failed, and it was not for a reason that passes.
    """
    if not isinstance(run_or_key, RotationRun):
        return work(start(run_or_key, **options), watch)
    return work(resumed(run_or_key), watch)


def resumed(run: RotationRun) -> RotationRun:
    """Return a run as it is now; one that was paused goes on."""
    now = find_run(run)
    return resume(now) if now.state == RotationState.PAUSED else now
