"""The state of a run, and what follows from it."""

from __future__ import annotations

from django.utils import timezone

from envelope_fields.models import RotationRun, RotationState
from envelope_fields.rotation.runs.rows import moved_so_far

_WRITTEN = (
    "state", "error", "resumed_at", "moved_before", "active_key", "finished_at", "start_token",
)  # fmt: skip


def write_state(run: RotationRun, using: str, state: RotationState, error: str = "") -> None:
    """Write what a run becomes, and why; its key is free for another one when it is over."""
    now = timezone.now()
    run.state, run.error = state, error
    if state == RotationState.RUNNING:
        run.resumed_at, run.moved_before = now, moved_so_far(run)
    if not run.is_active:
        run.active_key, run.finished_at = None, now
    run.save(using=using, update_fields=_WRITTEN)  # whoever works on it writes the others
