"""Runs are paused, resumed, cancelled and slowed by people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from envelope_fields import audit
from envelope_fields.lifecycle.context import key_transaction, locked_key, required
from envelope_fields.models import RotationRun, RotationState
from envelope_fields.policy import Action, Principal
from envelope_fields.rotation.limits import Limits
from envelope_fields.rotation.runs.errors import RunNotPossible
from envelope_fields.rotation.runs.rows import RunOrId, find_run
from envelope_fields.rotation.runs.states import write_state


def pause(run: RunOrId, *, actor: Any = None) -> RotationRun:
    """Let a run rest after the batches that are under way.

    Raises:
        NoSuchRun: there is none.
        RunNotPossible: it is over.
        KeyAccessDenied: the actor may not.
    """
    return _become(run, RotationState.PAUSED, "pause_rotation", actor)


def resume(run: RunOrId, *, actor: Any = None) -> RotationRun:
    """Let a run that was paused go on, for somebody to work on it; errors as for `pause`."""
    return _become(run, RotationState.RUNNING, "resume_rotation", actor)


def cancel(run: RunOrId, *, actor: Any = None) -> RotationRun:
    """End a run where it is. What was moved stays moved; errors as for `pause`.

    One that is cancelled already stays so.
    """
    return _become(run, RotationState.CANCELLED, "cancel_rotation", actor)


def limit(run: RunOrId, limits: Limits, *, actor: Any = None) -> RotationRun:
    """Change how politely a run works, from the next batches on; errors as for `pause`."""
    with _locked(run, actor) as (now, principal, using):
        before, after = now.limits, limits.as_json()
        changed = [name for name in after if after[name] != before.get(name)]
        if changed:
            now.limits = after
            now.save(using=using, update_fields=["limits"])
            audit.record(
                "limit_rotation", actor=principal, using=using, key=now.master_key,
                before={name: str(before.get(name)) for name in changed},
                after={"run": str(now.pk), **{name: str(after[name]) for name in changed}},
            )  # fmt: skip
    _tell(run, using)
    return now


def _become(run: RunOrId, state: RotationState, act: str, actor: Any) -> RotationRun:
    with _locked(run, actor, already=state) as (now, principal, using):
        if now.state != state:
            before = {"state": str(now.state)}
            write_state(now, using, state)
            after = {"run": str(now.pk), "state": str(state)}
            audit.record(
                act, actor=principal, using=using, key=now.master_key, before=before, after=after
            )
    _tell(run, using)
    return now


@contextmanager
def _locked(
    run: RunOrId, actor: Any, already: RotationState | None = None
) -> Iterator[tuple[RotationRun, Principal, str]]:
    """Lock the key of a run; yield the run as it is now, who does it, and the keys' database."""
    key_id = find_run(run).master_key_id  # before the transaction, which begins with a write
    with key_transaction() as using:
        principal = required(Action.RE_ENCRYPT, locked_key(using, key_id), actor, using)
        now = find_run(run)
        if not now.is_active and now.state != already:
            raise RunNotPossible(f"The run {now.pk} is {now.state}. Start another.")
        yield now, principal, using


def _tell(run: RunOrId, using: str) -> None:
    """Let the row that the caller holds say what the database says."""
    if isinstance(run, RotationRun):
        run.refresh_from_db(using=using)
