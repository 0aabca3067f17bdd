"""Runs: started, paused, resumed and cancelled by people; each act has its audit event (law 9)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet, Sum
from django.utils import timezone

from envelope_fields import audit
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError, MasterKeyUnusable
from envelope_fields.key_versions import key_versions, of_key
from envelope_fields.lifecycle.acts import required
from envelope_fields.lifecycle.locking import Key, key_transaction, locked_key
from envelope_fields.models import (
    ACTIVE_STATES,
    KeyState,
    MasterKey,
    RotationKind,
    RotationRun,
    RotationState,
)
from envelope_fields.policy import Action, Principal
from envelope_fields.rotation.idempotency import NOT_REPEATED, IdempotencyKey
from envelope_fields.rotation.limits import Limits
from envelope_fields.rotation.scope import chosen_columns, scope

RunOrId = RotationRun | UUID

_WRITTEN = (
    "state", "error", "resumed_at", "moved_before", "active_key", "finished_at", "start_token",
)  # fmt: skip


class RotationUnderWay(EnvelopeError):
    """The key has a run that is not over; `run` is it."""

    def __init__(self, key: MasterKey, run: RotationRun | None) -> None:
        named = f": {run.pk}, {run.state}" if run else ""
        super().__init__(
            f"The master key {key} has a run that is not over{named}. Let it finish, resume it, or "
            "cancel it: `python manage.py rewrap --run ID`, `rotation_runs --cancel ID`."
        )
        self.run = run


class NoSuchRun(EnvelopeError):
    """There is no run with that id."""


class RunNotPossible(EnvelopeError):
    """The state of the run does not allow that."""


def start(
    key: Key,
    *,
    kind: str = RotationKind.REWRAP,
    versions: Iterable[int] = (),
    fields: Iterable[str] = (),
    database: str = "",
    limits: Limits | None = None,
    idempotency_key: IdempotencyKey = NOT_REPEATED,
    actor: Any = None,
) -> RotationRun:
    """Make a run that moves the stored values under a master key, for somebody to work on it.

    `run()` does it in this process.

    Args:
        key: the master key, its id or its alias.
        kind: `rewrap`, which leaves data keys and payloads as they are; or `re_encrypt`, after a
            leak, or when a field got another master key.
        versions: the numbers of the key's versions whose values are moved; by default every one
            that is not current.
        fields: `app_label.Model.field`, or `app_label.Model`; by default all.
        database: only values in this one of `DATABASES`.
        limits: how politely.
        idempotency_key: by which a start that comes again is known, and told of the first run.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt, then
            and while the run goes on.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: the key is not enabled.
        RotationUnderWay: it has a run that is not over.
        NoSuchField: no encrypted field has such a name.
        IdempotencyKeyReused: something else was started with the same one.
        KeyAccessDenied: the actor may not.
        ValueError: no such kind.
    """
    kind, names, numbers = RotationKind(kind), sorted(set(fields)), sorted(set(versions))
    chosen_columns(names, database)
    with key_transaction() as using:
        row = locked_key(using, key)
        principal = required(Action.RE_ENCRYPT, row, actor, using)
        first = idempotency_key.first_run()
        if first is not None:
            return first
        _refuse_unless_enabled(row)
        scope(kind, of_key(row.pk, key_versions()), numbers)
        under_way = active_run(row)
        if under_way is not None:
            raise RotationUnderWay(row, under_way)
        run = RotationRun(
            kind=kind,
            master_key=row,
            active_key=row.pk,
            only_versions=numbers,
            only_fields=names,
            only_database=database,
            limits=(limits or Limits()).as_json(),
            actor_type=principal.type,
            actor_id=principal.id,
            actor_name=principal.name[:254],
            start_token=idempotency_key.token,
            start_digest=idempotency_key.digest,
        )
        try:
            with transaction.atomic(using=using):
                run.save(using=using, force_insert=True)
        except IntegrityError:  # a start on another key, which this one's lock does not keep out
            first = idempotency_key.first_run()
            if first is None:  # pragma: no cover - runs of this key the lock does keep out
                raise RotationUnderWay(row, active_run(row)) from None
            return first
        _record("start_rotation", row, principal, using, after=_asked_for(run))
    return run


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
            _record(
                "limit_rotation", now.master_key, principal, using,
                before={name: str(before.get(name)) for name in changed},
                after={"run": str(now.pk), **{name: str(after[name]) for name in changed}},
            )  # fmt: skip
    _tell(run, using)
    return now


def active_run(key: MasterKey) -> RotationRun | None:
    """Return the run of a key that is not over."""
    return all_runs().filter(active_key=key.pk).first()


def active_runs() -> QuerySet[RotationRun]:
    """Return the runs that are not over."""
    return all_runs().filter(state__in=ACTIVE_STATES)


def is_asked_for(
    run: RotationRun, *, kind: str, versions: Iterable[int], fields: Iterable[str], database: str
) -> bool:
    """Whether a run does what `start` with these arguments would have done."""
    names = {name.lower() for name in fields}
    return (kind, sorted(set(versions)), names, database) == (
        run.kind,
        run.only_versions,
        {name.lower() for name in run.only_fields},
        run.only_database,
    )


def find_run(run: RunOrId) -> RotationRun:
    """Return a run as it is now.

    Raises:
        NoSuchRun: there is none.
    """
    pk = run.pk if isinstance(run, RotationRun) else run
    found = all_runs().filter(pk=pk).first()
    if found is None:
        raise NoSuchRun(f"There is no rotation run {pk}.")
    return found


def all_runs() -> QuerySet[RotationRun]:
    """Return the runs, from where keys live."""
    return RotationRun.objects.using(configuration().database).select_related("master_key")


def principal_of_run(run: RotationRun) -> Principal:
    """Return on whose behalf a run was started."""
    return Principal(run.actor_type, run.actor_id, run.actor_name)


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
            _write(now, using, state, error=error)
            act = "complete_rotation" if state == RotationState.COMPLETED else "fail_rotation"
            after = {"run": str(run.pk), **numbers, **({"error": error} if error else {})}
            _record(act, key, principal_of_run(now), using, after=after)
    return now


def _become(run: RunOrId, state: RotationState, act: str, actor: Any) -> RotationRun:
    with _locked(run, actor, already=state) as (now, principal, using):
        if now.state != state:
            before = {"state": str(now.state)}
            _write(now, using, state)
            after = {"run": str(now.pk), "state": str(state)}
            _record(act, now.master_key, principal, using, before=before, after=after)
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


def _write(run: RotationRun, using: str, state: RotationState, error: str = "") -> None:
    now = timezone.now()
    run.state, run.error = state, error
    if state == RotationState.RUNNING:
        run.resumed_at, run.moved_before = now, moved_so_far(run)
    if not run.is_active:
        run.active_key, run.finished_at = None, now
    run.save(using=using, update_fields=_WRITTEN)  # whoever works on it writes the others


def moved_so_far(run: RotationRun) -> int:
    """Return how many values a run has moved."""
    places = run.places.using(configuration().database)
    return places.aggregate(moved=Sum("ranges__moved"))["moved"] or 0


def _refuse_unless_enabled(key: MasterKey) -> None:
    if key.state != KeyState.ENABLED:
        raise MasterKeyUnusable(
            f"Cannot move the values under the master key {key}: it is "
            f"{key.state.replace('_', ' ')}. A leaked version is disabled alone: enable the key."
        )


def _asked_for(run: RotationRun) -> dict[str, Any]:
    asked = {
        "versions": run.only_versions,
        "fields": run.only_fields,
        "database": run.only_database,
    }
    return {"run": str(run.pk), "kind": str(run.kind), **{k: v for k, v in asked.items() if v}}


def _record(
    act: str,
    key: MasterKey,
    principal: Principal,
    using: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any],
) -> None:
    audit.record(act, actor=principal, using=using, key=key, before=before, after=after)
