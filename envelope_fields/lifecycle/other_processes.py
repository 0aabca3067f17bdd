"""Other processes: how long they go by what they knew of a key, and what they have not committed.

Each goes by what it read of keys for its `KEY_CACHE_SECONDS`. The bound of them all is raised by
those that start with more; see `envelope_fields.keyring.age`. What is written in a transaction is
not counted before it is committed, so there is a wait for those that are open.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from django.db import DatabaseError

from envelope_fields import audit, databases
from envelope_fields.census import NotCounted
from envelope_fields.census.columns import stored_columns
from envelope_fields.conf import configuration
from envelope_fields.databases import Database, database
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.keyring.age import BOUND
from envelope_fields.lifecycle.context import key_transaction
from envelope_fields.models import KeyCacheBound
from envelope_fields.models.state_changes import begin_change, committed_at
from envelope_fields.policy import APPLICATION, acting

WAIT_SECONDS = 5  # a user may wait for a count in front of a page
_LOOKS_AT_THE_CLOCK = 10


def key_cache_bound() -> float:
    """Return the largest `KEY_CACHE_SECONDS` of all processes, as far as the database knows."""
    return _row(configuration().database).seconds


def lower_key_cache_bound(seconds: float, *, actor: Any = None) -> float:
    """Have every process go by what it knows of keys for at most so many seconds.

    Those that run follow when they read keys anew, which may take as long as the bound was before;
    until then shredding goes by that. One that starts with a larger `KEY_CACHE_SECONDS` raises the
    bound again: lower the setting first. A bound that is lower already stays.

    Args:
        seconds: from 0 on.
        actor: on whose behalf; None is the current principal. Only the application may.

    Returns:
        The bound as it is now.

    Raises:
        ValueError: not a number of seconds.
        KeyAccessDenied: the actor is not the application.
    """
    if isinstance(seconds, bool) or not seconds >= 0:
        raise ValueError(
            f"The bound of key caches is a number of seconds from 0 on, not {seconds!r}."
        )
    principal = acting(actor)
    if principal != APPLICATION:
        raise KeyAccessDenied(
            "The bound of key caches is lowered by the application: run "
            "`python manage.py lower_key_cache_bound`."
        )
    with key_transaction() as using:
        row = _row(using, locked=True)
        if row.seconds <= seconds:
            return row.seconds
        before = f"{row.seconds:g}"
        audit.hold(using)  # until the commit, others go by the bound as it was
        now = begin_change(using)
        row.seconds_before = max(row.seconds, _seconds_before(row, now))
        row.seconds, row.lowered_at = seconds, now
        row.save(using=using, update_fields=["seconds", "seconds_before", "lowered_at"])
        audit.record(
            "lower_key_cache_bound",
            actor=principal,
            using=using,
            before={"seconds": before},
            after={"seconds": f"{seconds:g}"},
        )
    return seconds


def known_everywhere(changed_at: datetime) -> datetime:
    """Return from when on every process knows of a change of state that was made at `changed_at`.

    They learn of it with its commit. A process that read keys before the bound was lowered goes by
    them for as long as it was before.
    """
    row, committed = _row(configuration().database), committed_at(changed_at)
    known = committed + timedelta(seconds=_longest(row))
    if row.lowered_at is None:
        return known
    last_read = min(committed, committed_at(row.lowered_at))
    return max(known, last_read + timedelta(seconds=row.seconds_before))


def seconds_until_known() -> float:
    """Return how long it may take until every process knows of a change that is made now."""
    now = databases.now()
    return (known_everywhere(now) - now).total_seconds()


def _longest(row: KeyCacheBound) -> float:
    # Our own setting, too: it may be larger, and this process may not have read a key yet.
    return max(row.seconds, configuration().key_cache_seconds)


def _row(using: str, *, locked: bool = False) -> KeyCacheBound:
    rows = KeyCacheBound.objects.using(using).filter(pk=BOUND)
    found = list(rows.select_for_update() if locked else rows)
    return found[0] if found else KeyCacheBound(pk=BOUND, seconds=0)


def _seconds_before(row: KeyCacheBound, now: datetime) -> float:
    """Return the bound that some process may still go by from before it was last lowered."""
    if row.lowered_at is None:
        return 0
    is_over = committed_at(row.lowered_at) + timedelta(seconds=row.seconds_before) <= now
    return 0 if is_over else row.seconds_before


@dataclass(frozen=True, order=True, slots=True)
class OpenTransaction:
    """A transaction of another connection, by the number of its process at the server.

    Its identity is what no other transaction of the database has while it is open.
    """

    database: str
    process: str
    identity: str

    def __str__(self) -> str:
        return f"process {self.process} in the database {self.database!r}"


@dataclass(slots=True)
class Waited:
    """What a wait ended with; `unseen` are databases that do not show their transactions."""

    still_open: list[OpenTransaction] = field(default_factory=list)
    unseen: list[NotCounted] = field(default_factory=list)


def wait_for_writers() -> Waited:
    """Wait a little for transactions that have written to the tables of values."""
    return _waited_for(_tables(), lambda there, names: there.writers(names), WAIT_SECONDS)


def wait_until(moment: datetime) -> None:
    """Wait for a moment by the clock of the keys' database.

    It may be slower than that of this machine, and is looked at again; it may also stand still.
    """
    for _ in range(_LOOKS_AT_THE_CLOCK):
        remaining = -_seconds_since(moment)
        if remaining <= 0:
            return
        time.sleep(remaining)


def wait_for_older(moment: datetime, seconds: float) -> Waited:
    """Wait for some seconds for transactions that began before a moment, which is over.

    Also for those in the keys' database: one that sees the past finds keys there as they were.
    """
    tables = {configuration().database: set[str](), **_tables()}

    def older(there: Database, _: set[str]) -> Iterable[tuple[str, str]]:
        return there.older_transactions(max(_seconds_since(moment), 0))

    return _waited_for(tables, older, seconds)


def _seconds_since(moment: datetime) -> float:
    return (databases.now() - moment).total_seconds()


_Look = Callable[[Database, set[str]], Iterable[tuple[str, str]]]
_Tables = dict[str, set[str]]  # by database


def _tables() -> _Tables:
    """Return the tables of values, named as the catalogue has them."""
    tables: _Tables = {}
    for column in stored_columns():
        name = database(column.database).name(column.table_sql)
        tables.setdefault(column.database, set()).add(name)
    return tables


def _waited_for(tables: _Tables, look: _Look, seconds: float) -> Waited:
    waited, until = Waited(), monotonic() + seconds
    for alias, names in tables.items():
        try:
            waited.still_open += _waited_for_in(alias, names, look, until)
        except DatabaseError as error:
            why = database(alias).why_unseen(error)
            waited.unseen.append(NotCounted(alias, "transactions that are under way", why))
    return waited


def _waited_for_in(
    alias: str, tables: set[str], look: _Look, until: float
) -> list[OpenTransaction]:
    waiting = _open(alias, tables, look)
    while waiting and monotonic() < until:
        database(alias).pause()
        waiting &= _open(alias, tables, look)
    return sorted(waiting)


def _open(alias: str, tables: set[str], look: _Look) -> set[OpenTransaction]:
    found = look(database(alias), tables)
    return {OpenTransaction(alias, str(process), identity) for identity, process in found}
