"""A rotation is forecast, started, once on each key that has none, and worked on here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from envelope_fields.census.columns import Column
from envelope_fields.census.values import key_versions, of_key
from envelope_fields.databases import database as database_of
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.jobs.dispatch import NOT_REPEATED, IdempotencyKey, dispatch_start
from envelope_fields.jobs.runs import RotationUnderWay, active_run, find_run, insert, record, resume
from envelope_fields.jobs.statements import statements
from envelope_fields.jobs.throttle import BATCH_SIZE, Limits
from envelope_fields.jobs.work import Watcher, unwatched, work
from envelope_fields.lifecycle.context import key_transaction, locked_keys
from envelope_fields.lifecycle.keys import Key, find_master_key
from envelope_fields.models import KeyState, MasterKey, RotationKind, RotationRun, RotationState
from envelope_fields.policy import Action, Principal, require_on_each
from envelope_fields.rotation.scope import MOVING, RotationScope, declared_columns

Keys = Key | Sequence[MasterKey]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be done in one field.

    Attributes:
        database: the alias in `DATABASES`.
        field: `app_label.Model.field`.
        values: how many would be looked at.
        seconds: about how long one process takes, as tried with some of them.
        schema: the schema of the table, as the census has it.
    """

    database: str
    field: str
    values: int
    seconds: float
    schema: str | None = None


def forecast(
    key: Key,
    *,
    kind: str = RotationKind.REWRAP,
    versions: Iterable[int] = (),
    fields: Iterable[str] = (),
    database: str = "",
) -> list[Forecast]:
    """Return what `start` with these arguments would do; fields without work are left out.

    Raises:
        EnvelopeError, ImproperlyConfigured: as `start` and `run` do.
    """
    wanted = RotationScope(kind, of_key(key), sorted(set(versions)), fields, database)
    found = []
    for column in wanted.columns():
        values = wanted.count(column).total()
        if values:
            seconds = values * _seconds_a_value(column, wanted)
            found.append(Forecast(column.database, str(column), values, seconds, column.schema))
    return found


def start(
    key: Keys,
    *,
    kind: str = RotationKind.REWRAP,
    versions: Iterable[int] = (),
    fields: Iterable[str] = (),
    database: str = "",
    limits: Limits | None = None,
    idempotency_key: IdempotencyKey = NOT_REPEATED,
    actor: Any = None,
) -> RotationRun:
    """Make a run that moves the stored values under master keys, to be worked on.

    `run()` does it in this process.

    Args:
        key: the master key, its id or its alias; or several keys, whose values are moved in the
            same passes.
        kind: `rewrap`, which leaves data keys and payloads as they are; or `re_encrypt`, after a
            leak, or when a field got another master key.
        versions: the numbers of the key's versions whose values are moved; by default every one
            that is not current.
        fields: `app_label.Model.field`, or `app_label.Model`; by default all.
        database: only values in this one of `DATABASES`.
        limits: what it asks of databases at most.
        idempotency_key: by which a start that comes again is known, and answered with the first
            run.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt, then
            and while the run goes on.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: a key is not enabled.
        RotationUnderWay: it has a run that is not over.
        NoSuchField: no encrypted field has such a name.
        IdempotencyKeyReused: something else was started with the same one.
        KeyAccessDenied: the actor may not.
        ValueError: no such kind, or no key.
    """
    kind, names, numbers = RotationKind(kind), sorted(set(fields)), sorted(set(versions))
    if kind not in MOVING:
        raise ValueError("a conversion is not started on a key: see `convert_field`")
    declared_columns(names, database)
    key_ids = _ids(key)
    with key_transaction() as using:
        keys = locked_keys(using, key_ids)
        principal = require_on_each(Action.RE_ENCRYPT, keys, actor, using=using)
        is_repeated = idempotency_key is not NOT_REPEATED
        first = idempotency_key.first_run() if is_repeated else None
        if first is not None:
            return first
        for each in keys:
            _refuse_unless_enabled(each)
        if numbers:
            RotationScope(kind, key_versions(*keys), numbers)
        run = RotationRun(
            kind=kind,
            master_key=keys[0] if len(keys) == 1 else None,
            only_versions=numbers,
            only_fields=names,
            only_database=database,
            limits=(limits or Limits()).as_json(),
            start_token=idempotency_key.token,
            start_digest=idempotency_key.digest,
        )
        if not _saved(run, keys, principal, using):
            # Maybe by a start on another key, which the lock of this one does not keep out.
            first = idempotency_key.first_run()
            if first is None:
                raise _under_way(keys)
            return first
        record("start_rotation", run, principal, using, keys=keys, after=_asked_for(run))
    return run


def start_dispatched(
    key: Keys, *, idempotency_key: IdempotencyKey = NOT_REPEATED, **options: Any
) -> RotationRun:
    """Make a run and have the worker of the settings work on it.

    Args:
        key, idempotency_key, **options: those of `start`.

    Raises:
        EnvelopeError: as `start` and `jobs.dispatch.dispatch_start` do.
    """
    make = partial(start, key, idempotency_key=idempotency_key, **options)
    return dispatch_start(make, idempotency_key)


def run(
    run_or_key: RotationRun | Keys, *, watch: Watcher = unwatched, **options: Any
) -> RotationRun:
    """Work on a run in this process until it is over; a key gets a new run first.

    Args:
        run_or_key: a run, which is resumed if it was paused; or what `start` takes.
        watch: called after each batch, with its `BatchResult`.
        **options: with a key, those of `start`.

    Returns:
        The run: completed, or paused or cancelled meanwhile.

    Raises:
        EnvelopeError: as `start` does; or the run cannot go on, and is failed: the principal may
            not move the values, or their key cannot be used.
        Error: the database failed, and it was not for a reason that passes.
    """
    if not isinstance(run_or_key, RotationRun):
        return work(start(run_or_key, **options), watch)
    return work(resumed(run_or_key), watch)


def is_same_request(
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


def resumed(run: RotationRun) -> RotationRun:
    """Return a run as it is now; one that was paused goes on."""
    now = find_run(run)
    return resume(now) if now.state == RotationState.PAUSED else now


def _ids(key: Keys) -> list[UUID]:
    """Return the ids of the keys that are named.

    Raises:
        MasterKeyNotFound: no key has the alias.
        ValueError: no key is named.
    """
    if isinstance(key, UUID):
        return [key]
    if isinstance(key, str):
        key = find_master_key(key)
    named = [key] if isinstance(key, MasterKey) else key
    if not named:
        raise ValueError("a rotation is about one key at least")
    return [each.pk for each in named]


def _refuse_unless_enabled(key: MasterKey) -> None:
    if key.state != KeyState.ENABLED:
        raise MasterKeyUnusable(
            f"Cannot move the values under the master key {key}: it is "
            f"{key.state.replace('_', ' ')}. A leaked version is disabled alone: enable the key."
        )


def _saved(run: RotationRun, keys: Sequence[MasterKey], principal: Principal, using: str) -> bool:
    """Save a run with its keys; return whether it was, and no other one is in its way."""
    try:
        with transaction.atomic(using=using):
            insert(run, keys, principal, using, holds=True)
    except IntegrityError:
        return False
    return True


def _under_way(keys: Sequence[MasterKey]) -> RotationUnderWay:
    """Return the error that names the run of the first key that has one."""
    found = ((key, active_run(key)) for key in keys)
    return RotationUnderWay(*next((each for each in found if each[1]), (keys[0], None)))


def _asked_for(run: RotationRun) -> dict[str, Any]:
    asked = {"kind": str(run.kind), "versions": run.only_versions, "fields": run.only_fields,
             "database": run.only_database}  # fmt: skip
    return {name: what for name, what in asked.items() if what}


def _seconds_a_value(column: Column, wanted: RotationScope) -> float:
    """Try it with the first batch, without writing."""
    ask, job, version_ids = statements(column), wanted.job(column), wanted.version_ids(column)
    began = perf_counter()
    stored = ask.heads(version_ids, None, None, BATCH_SIZE)
    some = [value for value in stored if value.version_id in version_ids]
    if some:
        job.process(some)
    took = perf_counter() - began
    return took / max(len(stored), 1) * database_of(column.database).WITH_WRITING
