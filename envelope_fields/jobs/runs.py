"""Runs: found, paused, resumed, cancelled and limited; ended by themselves.

Each act has its audit event, in the same transaction (law 9). A run is about one key, several, or
none: who acts on it needs the right to re-encrypt on each of its keys, and is the application or an
active user where it has none.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, IntegrityError
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum

from envelope_fields import audit, databases
from envelope_fields.conf import configuration
from envelope_fields.databases.errors import is_about_reading
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.throttle import Limits
from envelope_fields.lifecycle.context import as_expected, key_transaction, locked_keys
from envelope_fields.models import ACTIVE_STATES, MasterKey, RotationKey, RotationRun, RotationState
from envelope_fields.policy import Action, Principal, require_on_each

RunOrId = RotationRun | UUID

HEARTBEAT_EVERY = timedelta(seconds=1)  # how often a process that works on a run says so


class RotationUnderWay(EnvelopeError):
    """The key, or the index, has a run that is not over; `run` is it."""

    def __init__(self, about: MasterKey | str, run: RotationRun | None) -> None:
        named = f": {run.pk}, {run.state}" if run else ""
        what = about if isinstance(about, str) else f"The master key {about}"
        super().__init__(
            f"{what} has a run that is not over{named}. Let it finish, resume it, or "
            "cancel it: `python manage.py rewrap --run ID`, `rotation_runs --cancel ID`."
        )
        self.run = run


class NoSuchRun(EnvelopeError):
    """There is no run with that id."""


class RunNotPossible(EnvelopeError):
    """The state of the run does not allow that."""


# Finding


def all_runs() -> QuerySet[RotationRun]:
    """Return the runs, from where keys live."""
    return RotationRun.objects.using(configuration().database).select_related("master_key")


def active_runs() -> QuerySet[RotationRun]:
    """Return the runs that are not over."""
    return all_runs().filter(state__in=ACTIVE_STATES)


def active_run(key: MasterKey) -> RotationRun | None:
    """Return the run of a key that is not over."""
    return all_runs().filter(keys__active_key=key.pk).first()


def runs_of(keys: QuerySet[MasterKey]) -> QuerySet[RotationRun]:
    """Return the runs that are about keys of a queryset alone, or about no key at all."""
    ids = keys.values("pk")
    about = RotationKey.objects.using(configuration().database).filter(run=OuterRef("pk"))
    several = Q(master_key=None) & ~Exists(about.exclude(master_key__in=ids))
    return all_runs().filter(Q(master_key__in=ids) | several)


def runs_about(
    key: MasterKey | UUID, runs: QuerySet[RotationRun] | None = None
) -> QuerySet[RotationRun]:
    """Return the runs that a key is one of, of some or of all."""
    about = RotationKey.objects.using(configuration().database)
    which = Q(master_key=key) | Q(pk__in=about.filter(master_key=key).values("run"))
    return (all_runs() if runs is None else runs).filter(which)


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


def keys_of(run: RotationRun) -> list[MasterKey]:
    """Return the master keys that a run is about, in the order of their ids."""
    if run.master_key is not None:
        return [run.master_key]
    keys = MasterKey.objects.using(configuration().database)
    return list(keys.filter(pk__in=key_ids_of(run)).order_by("pk"))


def key_ids_of(run: RotationRun) -> QuerySet[RotationKey, UUID]:
    """Return the ids of the master keys that a run is about, in their order."""
    rows = RotationKey.objects.using(configuration().database).filter(run=run.pk)
    return rows.order_by("master_key_id").values_list("master_key_id", flat=True)


def principal_of_run(run: RotationRun) -> Principal:
    """Return on whose behalf a run was started."""
    return Principal(run.actor_type, run.actor_id, run.actor_name)


# Acts of users


def insert(
    run: RotationRun, keys: Sequence[MasterKey], principal: Principal, using: str, *, holds: bool
) -> None:
    """Save a run that a principal starts, and the keys that it is about.

    Where it holds them, another run that does is an IntegrityError until it is over.
    """
    run.created_at = databases.now()  # as all times of runs, and of changes of states
    run.actor_type, run.actor_id = principal.type, principal.id
    run.actor_name = principal.name[:254]
    run.save(using=using, force_insert=True)
    about = [
        RotationKey(run=run, master_key=key, active_key=key.pk if holds else None) for key in keys
    ]
    RotationKey.objects.using(using).bulk_create(about, batch_size=databases.IN_A_QUERY)


def pause(run: RunOrId, *, actor: Any = None) -> RotationRun:
    """Let a run rest after the batches that are under way.

    Raises:
        NoSuchRun: there is none.
        RunNotPossible: it is over.
        KeyAccessDenied: the actor may not.
    """
    return _become(run, RotationState.PAUSED, "pause_rotation", actor)


def resume(run: RunOrId, *, actor: Any = None) -> RotationRun:
    """Let a run that was paused go on, to be worked on; errors as for `pause`."""
    return _become(run, RotationState.RUNNING, "resume_rotation", actor)


def cancel(run: RunOrId, *, actor: Any = None) -> RotationRun:
    """End a run where it is, unless it was; what was moved stays moved. Errors as for `pause`."""
    return _become(run, RotationState.CANCELLED, "cancel_rotation", actor)


def limit(run: RunOrId, limits: Limits, *, actor: Any = None) -> RotationRun:
    """Change what a run asks of a database, from the next batches on; errors as for `pause`."""
    with _locked(run, actor) as (now, principal, using):
        before, after = Limits.kept(now.limits).as_json(), limits.as_json()
        changed = [name for name in after if after[name] != before[name]]
        if changed:
            now.limits = after
            now.save(using=using, update_fields=["limits"])
            record(
                "limit_rotation", now, principal, using,
                before={name: str(before[name]) for name in changed},
                after={name: str(after[name]) for name in changed},
            )  # fmt: skip
    return now


def _become(run: RunOrId, state: RotationState, act: str, actor: Any) -> RotationRun:
    with _locked(run, actor, already=state) as (now, principal, using):
        if now.state != state:
            before = {"state": str(now.state)}
            _write_state(now, using, state)
            record(act, now, principal, using, before=before, after={"state": str(state)})
    return now


@contextmanager
def _locked(
    run: RunOrId, actor: Any, already: RotationState | None = None
) -> Iterator[tuple[RotationRun, Principal, str]]:
    """Lock a run; yield it as it is now, the principal who acts, and the keys' database.

    The row that the caller holds says at the end what the database says.
    """
    known = find_run(run)  # before the transaction, which begins with a write
    with key_transaction() as using:
        lock(known, using)
        principal = require_on_each(Action.RE_ENCRYPT, keys_of(known), actor, using=using)
        now = find_run(known)
        if not now.is_active and now.state != already:
            raise RunNotPossible(f"The run {now.pk} is {now.state}. Start another.")
        yield now, principal, using
    if isinstance(run, RotationRun):
        run.refresh_from_db(using=using)


def lock(run: RotationRun, using: str) -> None:
    """Lock the key of a run, or the first of its keys, and the run, until the transaction ends."""
    locked_keys(using, [run.master_key_id] if run.master_key_id else key_ids_of(run)[:1])
    RotationRun.objects.using(using).filter(pk=run.pk).update(state=F("state"))
    as_expected(run)


def record(
    act: str,
    run: RotationRun,
    principal: Principal,
    using: str,
    *,
    keys: Sequence[MasterKey] | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Append the audit event of an act for each key that the run is about, or one for no key.

    Args:
        act, principal, using, before, after: those of `audit.record_each`.
        keys: its keys, where they were read already.
    """
    about: dict[str, Any] = {"run": str(run.pk), **(after or {})}
    keys = keys_of(run) if keys is None else keys
    named: list[tuple[MasterKey | None, Any]] = [(key, about) for key in keys]
    each = named or [(None, {**about, "keys": []})]
    audit.record_each(act, each, actor=principal, using=using, before=before)


# Ends


def ended(
    run: RotationRun,
    state: RotationState,
    error: str = "",
    *,
    expected: RotationState = RotationState.RUNNING,
    **numbers: int,
) -> RotationRun:
    """End a run by itself, completed or failed, unless its state was changed meanwhile.

    One that has not begun may be started again by the same start.
    """
    with key_transaction() as using:
        lock(run, using)
        now = find_run(run)
        if now.state == expected:
            if expected == RotationState.PENDING:
                now.start_token = None
            _write_state(now, using, state, error=error)
            act = "complete_rotation" if state == RotationState.COMPLETED else "fail_rotation"
            after = {**numbers, **({"error": error} if error else {})}
            record(act, now, principal_of_run(now), using, after=after)
    return now


@contextmanager
def failing(run: RotationRun) -> Iterator[None]:
    """End a run as failed when the block raises what no other range would be spared."""
    try:
        yield
    except Exception as error:
        with suppress(Exception):  # the database may have failed
            ended(run, RotationState.FAILED, _error_text(error))
        raise


def _error_text(error: Exception) -> str:
    """Return what an error says, without the values or rows that those of databases may name."""
    if isinstance(error, EnvelopeError | ImproperlyConfigured):
        return f"{type(error).__name__}: {error}"
    names_values = isinstance(error, IntegrityError) or is_about_reading(error)
    if isinstance(error, Error) and not names_values:  # rows are in further lines
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return type(error).__name__  # of whatever code, with whatever in it


_WRITTEN = ("state", "error", "resumed_at", "moved_before", "finished_at", "start_token")


def _write_state(run: RotationRun, using: str, state: RotationState, error: str = "") -> None:
    """Write what a run becomes, and why; its keys are free for another one when it is over."""
    now = databases.now()
    run.state, run.error = state, error
    if state == RotationState.RUNNING:
        run.resumed_at = now
        moved = run.columns.using(using).aggregate(moved=Sum("ranges__moved"))["moved"]
        run.moved_before = moved or 0
    if state not in ACTIVE_STATES:
        run.finished_at = now
        run.keys.using(using).update(active_key=None)
    run.save(using=using, update_fields=_WRITTEN)  # processes that work on it write the others
