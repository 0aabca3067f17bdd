"""Runs end by themselves: completed, or failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from envelope_fields import audit
from envelope_fields.lifecycle.context import key_transaction, locked_key
from envelope_fields.models import RotationRun, RotationState
from envelope_fields.rotation.patience import said
from envelope_fields.rotation.runs.rows import find_run, principal_of_run
from envelope_fields.rotation.runs.states import write_state


def never_begun(run: RotationRun, error: str) -> RotationRun:
    """End a run that nobody could be told of, as failed: the same start may be sent again."""
    return ended(run, RotationState.FAILED, error, expected=RotationState.PENDING)


def ended(
    run: RotationRun,
    state: RotationState,
    error: str = "",
    *,
    expected: RotationState = RotationState.RUNNING,
    **numbers: int,
) -> RotationRun:
    """End a run by itself, completed or failed, unless somebody has changed its state."""
    with key_transaction() as using:
        key = locked_key(using, run.master_key_id)
        now = find_run(run)
        if now.state == expected:
            if expected == RotationState.PENDING:
                now.start_token = None
            write_state(now, using, state, error=error)
            act = "complete_rotation" if state == RotationState.COMPLETED else "fail_rotation"
            after = {"run": str(run.pk), **numbers, **({"error": error} if error else {})}
            audit.record(act, actor=principal_of_run(now), using=using, key=key, after=after)
    return now


@contextmanager
def failing(run: RotationRun) -> Iterator[None]:
    """End a run as failed when the block raises what no other range would be spared."""
    try:
        yield
    except Exception as error:
        with suppress(Exception):  # the database may be the trouble
            ended(run, RotationState.FAILED, said(error))
        raise
