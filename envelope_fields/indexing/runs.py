"""The runs of an index: started, worked on here, and what the last of them has found."""

from collections import Counter
from datetime import datetime
from functools import cached_property, partial
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from envelope_fields import databases, models
from envelope_fields.census.columns import Column
from envelope_fields.exceptions import IndexNotReady
from envelope_fields.indexing.rebuild import Rebuild, Verification
from envelope_fields.indexing.rows import IndexedTable, find_indexes
from envelope_fields.jobs import job, runs
from envelope_fields.jobs.dispatch import NOT_REPEATED, IdempotencyKey, dispatch_start
from envelope_fields.jobs.representation import progress
from envelope_fields.jobs.throttle import Limits
from envelope_fields.jobs.work import Watcher, unwatched, work
from envelope_fields.keyring.index_rows import unwritten_from
from envelope_fields.lifecycle import Operation, index_triggers, other_processes
from envelope_fields.lifecycle.context import key_transaction, locked_keys
from envelope_fields.lifecycle.index_states import begun_index, search_key_ids
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.lifecycle.other_processes import WAIT_SECONDS, known_everywhere
from envelope_fields.lifecycle.representation import as_utc
from envelope_fields.policy import require_on_each
from envelope_fields.rotation.scope import can_be_written, is_replica

KINDS = (models.RotationKind.REBUILD_INDEX, models.RotationKind.VERIFY_INDEX)
_SECONDS = 60  # for transactions


class IndexScope(job.Scope):
    """The rows of a blind index, in all databases and schemas.

    After the first pass of a run, what is wrong has been written: by it, or by those who wrote the
    row. So rows that have an index are passed over then.
    """

    most_passes = 3
    why_some_stay = (
        "could not be written: others wrote them, or held locks on their rows, in each pass. Run "
        "it again."
    )

    def __init__(self, run: models.RotationRun) -> None:
        self._label = run.only_field
        self._verifies = run.kind == models.RotationKind.VERIFY_INDEX
        self._only_missing = run.pass_number > 1

    def columns(self) -> list[Column]:
        return [table.column for table in self._tables]

    def version_ids(self, column: Column) -> None:
        return None  # every row is looked at

    def count(self, column: Column) -> Counter[UUID | None]:
        return Counter({None: IndexedTable(column.field, column).count()})

    def count_remaining(self, column: Column) -> Counter[UUID | None]:
        return Counter()  # NULL is right for some values: only a look tells

    def sees_only_by_looking(self, column: Column) -> bool:
        return not self._verifies

    def job(self, column: Column) -> job.Job:
        table = IndexedTable(column.field, column)
        if self._verifies:
            return Verification(table)
        return Rebuild(table, only_missing=self._only_missing)

    @cached_property
    def _tables(self) -> list[IndexedTable]:
        """Those that are written: a replica, or a view of them, has the same rows."""
        return [
            table
            for table in find_indexes([self._label])
            if not is_replica(table.using) and can_be_written(table.column.relation)
        ]


def register() -> None:
    """Say what runs of our kinds are about."""
    for kind in KINDS:
        job.register(kind, IndexScope)


def operation_of(kind: str) -> Operation:
    """Return the operation that starts a run of a kind."""
    return Operation(str(kind))


def start(
    index: Any,
    kind: str,
    *,
    using: str,
    limits: Limits | None = None,
    idempotency_key: IdempotencyKey = NOT_REPEATED,
    actor: Any = None,
) -> models.RotationRun:
    """Make a run that rebuilds or verifies an index, or return the one that is not over.

    `run()` works on it in this process. To rebuild an index that is retired is to empty it.

    Args:
        index: the field.
        kind: `rebuild_index` or `verify_index`.
        using: a database that it is in.
        limits: what it asks of databases at most.
        idempotency_key: by which a start that comes again is known, and answered with the first
            run.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt on
            each search key, and on those of the values, then and while the run goes on.

    Raises:
        IndexNotReady: it is retired, and other processes may not know yet; or transactions are
            open that began when builds were about which do not write it.
        RotationUnderWay: a run of the other kind is not over.
        IdempotencyKeyReused: something else was started with the same one.
        KeyAccessDenied: the actor may not.
        EnvelopeError: the index cannot be begun.
    """
    operation = operation_of(kind)
    if index.only_alias is not None:
        begin_index(index, index.only_alias, using)
    _refuse_until_retired_everywhere(index)
    if kind == models.RotationKind.VERIFY_INDEX:
        _refuse_while_older_write(index)
    with key_transaction() as using_keys:
        keys = locked_keys(using_keys, _key_ids(index, using_keys))
        principal = require_on_each(operation.action, keys, actor, using=using_keys)
        is_repeated = idempotency_key is not NOT_REPEATED
        before = idempotency_key.first_run() if is_repeated else None
        before = before or _under_way(index, kind)
        if before is not None:
            return before
        started = models.RotationRun(
            kind=models.RotationKind(kind),
            only_fields=[str(index)],
            limits=(limits or Limits()).as_json(),
            start_token=idempotency_key.token,
            start_digest=idempotency_key.digest,
        )
        runs.insert(started, keys, principal, using_keys, holds=False)  # rotations go on
        runs.record(
            str(operation), started, principal, using_keys, after={"index": index.field_path}
        )
    if kind == models.RotationKind.VERIFY_INDEX:
        index_triggers.drop_emptying(index)  # what is found right is to stay so
    return started


def start_dispatched(
    index: Any, kind: str, *, idempotency_key: IdempotencyKey = NOT_REPEATED, **options: Any
) -> models.RotationRun:
    """Make a run and have the worker of the settings work on it.

    Args:
        index, kind, idempotency_key: those of `start`, as are other options.

    Raises:
        EnvelopeError: as `start` and `jobs.dispatch.dispatch_start` do.
    """
    make = partial(start, index, kind, idempotency_key=idempotency_key, **options)
    return dispatch_start(make, idempotency_key)


def run(begun: models.RotationRun, *, watch: Watcher = unwatched) -> models.RotationRun:
    """Work on a run in this process until it is over; one that was paused goes on.

    Raises:
        EnvelopeError: the run cannot go on, and is failed.
        Error: the database failed, and it was not for a reason that passes.
    """
    return work(runs.resume(begun) if begun.state == models.RotationState.PAUSED else begun, watch)


def runs_of_index(index: Any) -> QuerySet[models.RotationRun]:
    """Return the runs of an index, the newest first."""
    return runs.all_runs().filter(kind__in=KINDS, only_fields=[str(index)])


def active_run(index: Any) -> models.RotationRun | None:
    """Return the run of an index that is not over."""
    return runs.active_runs().filter(kind__in=KINDS, only_fields=[str(index)]).first()


def last_verification(index: Any, since: datetime | None = None) -> models.RotationRun | None:
    """Return the last run, started since a moment, that has compared every row; or None."""
    done = runs_of_index(index).filter(
        kind=models.RotationKind.VERIFY_INDEX, state=models.RotationState.COMPLETED
    )
    return (done if since is None else done.filter(created_at__gte=since)).first()


def wrong_rows(verification: models.RotationRun) -> int:
    """Return how many rows a verification has found wrong."""
    return progress(verification).failed


def _under_way(index: Any, kind: str) -> models.RotationRun | None:
    found = active_run(index)
    if found is not None and found.kind != kind:
        raise runs.RotationUnderWay(f"The blind index {index.field_path}", found)
    return found


def _refuse_until_retired_everywhere(index: Any) -> None:
    row = begun_index(index.field_path)
    if row is None or row.state != models.IndexState.RETIRED:
        return
    known = unwritten_from(row)
    if known > databases.now():
        raise IndexNotReady(
            f"The blind index {index.field_path} is retired, and other processes may write it "
            f"until {as_utc(known)}. It is emptied after that."
        )


def _refuse_while_older_write(index: Any) -> None:
    row = begun_index(index.field_path)
    changed_at = None if row is None else last_change(row)
    if row is None or changed_at is None:
        return
    if known_everywhere(changed_at) <= databases.now():
        wait_until_known(row.label, changed_at, WAIT_SECONDS)


def _key_ids(index: Any, using: str) -> set[UUID]:
    """Return the keys that an index is pinned to, and those of its values, as far as they are."""
    named = {source.field.key or models.DEFAULT_ALIAS for source in index.sources
             if not callable(source.field.key)}  # fmt: skip
    found = (
        models.MasterKey.objects.using(using).filter(alias__in=named).values_list("pk", flat=True)
    )
    return {*search_key_ids(index.field_path, using), *found}


# -- Builds in other processes, which write an index as it was before ------------------------------


def last_change(row: models.BlindIndex) -> datetime | None:
    """Return from when on no build may run that does not write an index; None where one still may.

    Those that write the one that it replaces are refused since then. Others cannot be: from when
    the index is verified on, they have their time to show what they write.
    """
    is_verified = row.state == models.IndexState.VERIFIED
    return row.required_at or (row.state_changed_at if is_verified else None)


def wait_until_known(label: str, changed_at: datetime, seconds: float = _SECONDS) -> list[str]:
    """Wait until every process knows of a change of an index, and has ended what it began before.

    That takes the longest `KEY_CACHE_SECONDS` of any process, less the time that has passed since,
    and as long as transactions last that are older.

    Args:
        label: of the index, for the error.
        changed_at: when it was changed.
        seconds: for how many to wait for transactions.

    Returns:
        Of databases that do not show whether transactions are open, their aliases and why.

    Raises:
        IndexNotReady: a transaction does not end.
    """
    return wait_until(label, known_everywhere(changed_at), seconds)


def wait_until(label: str, known: datetime, seconds: float = _SECONDS) -> list[str]:
    """Do what `wait_until_known` does, for a moment from which on everything is known."""
    other_processes.wait_until(known)
    waited = other_processes.wait_for_older(known, seconds)
    if waited.still_open:
        open_in = ", ".join(map(str, waited.still_open))
        raise IndexNotReady(
            f"The blind index {label} does not go on yet: transactions are open that may write it "
            f"as it was before: {open_in}. Run this again when they have ended."
        )
    return [f"{each.database}: {each.reason}" for each in waited.unseen]
