"""What this process knows of keys: the table that serves all threads, until its time is over.

While this thread's connection has uncommitted key changes nothing is kept at all (law 3); a
transaction that sees the database as it was when it began keeps what it learns to itself. That may
be older than `KEY_CACHE_SECONDS`, or than a change that this process has made since, and no other
thread and no later transaction goes by it.
"""

from collections.abc import Callable
from math import inf
from threading import RLock, local
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from envelope_fields import forks
from envelope_fields.conf import SETTING, configuration
from envelope_fields.databases import database_of, may_wait, server_behind
from envelope_fields.databases.transactions import autocommits
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import materials
from envelope_fields.keyring.age import uptime
from envelope_fields.keyring.opening import refuse_in_event_loop
from envelope_fields.keyring.table import Table, table_now
from envelope_fields.models import key_changes
from envelope_fields.policy.data import PolicyData

uncommitted = key_changes.live  # a set: whether it is empty is seen without a call


class _OfProcess:
    """The table of the process, and those before it by which objects were loaded."""

    __slots__ = ("previous", "table")

    def __init__(self) -> None:
        self.table = Table(seconds=0)
        self.previous: set[Table] = set()  # as long as they are valid


known = _OfProcess()
# Of what is known, so that no table is lost: it has to end, too. Keys may be forgotten while they
# are, by what is collected as garbage, or read by a signal handler.
_lock = RLock()
_refresh_listeners: list[Callable[[], None]] = []


def current_table(at_half_life: bool = False) -> Table:
    """Return the table to look into and to fill: one for this call or transaction, or the cache.

    Args:
        at_half_life: whether the cache is filled anew when half of its time is over.

    Raises:
        OpeningNeedsThread: an event loop is running, and the time of the cache is over.
    """
    if uncommitted and key_changes.uncommitted():
        return Table(seconds=0)
    if not may_wait():
        if uptime() >= known.table.deadline:
            refuse_in_event_loop()
        return known.table
    own = table_of_transaction()
    if own is not None:
        return own
    table = known.table
    if uptime() >= (table.half_life if at_half_life else table.deadline):
        table = table_now()
        table.expect(known.table)
        _replace_by(table)
        for listener in _refresh_listeners:
            listener()
    return table


def table_to_load_by() -> Table:
    """Return the table by which objects are loaded: one that is valid for half its time yet."""
    if uptime() < known.table.half_life:
        return current_table()
    try:
        return current_table(at_half_life=True)
    except MasterKeyUnusable:  # what is known is valid until its time is over
        if uptime() < known.table.deadline:
            return known.table
        raise


def _replace_by(table: Table) -> None:
    """Have a table serve the process; those before it are kept for what was loaded by them."""
    with _lock:
        before, known.table = known.table, table
        known.previous.add(before)
        for each in tuple(known.previous):
            if uptime() >= each.deadline:
                known.previous.discard(each)
                each.end()


class _OfThread(local):
    """The table of this thread's transaction, and the commit hooks by which that is known."""

    checked: tuple[BaseDatabaseWrapper, int] | None = None  # of what connection, and when
    hooks: list[Any] | None = None
    epoch = -1
    sees_the_past = False
    table: Table | None = None


_own = _OfThread()
epoch = 0  # grows when keys, grants or users were changed by this process


def table_of_transaction() -> Table | None:
    """Return the table of this thread's transaction, or None where it sees the present.

    Raises:
        ImproperlyConfigured: it sees what others have not committed, and may still take back.
    """
    connection = connections[configuration().database]
    if _own.checked != (connection, epoch):
        _check_isolation(connection)
        _own.checked = connection, epoch
    if not connection.in_atomic_block:
        # Without autocommit, nothing tells one transaction from the next.
        has_autocommit = connection.autocommit or autocommits(connection)
        return None if has_autocommit else Table(seconds=0)
    # Django begins a new list of hooks whenever a transaction ends.
    hooks = connection.run_on_commit
    if _own.hooks is not hooks or _own.epoch != epoch:
        _end_table_of_transaction()
        _own.sees_the_past = database_of(connection).sees_the_past()
        _own.hooks, _own.epoch = hooks, epoch
    if not _own.sees_the_past:
        return None
    if _own.table is None or uptime() >= _own.table.deadline:
        _end_table_of_transaction()
        _own.table = table_now()
        _own.table.is_of_transaction = True
    return _own.table


def _check_isolation(connection: BaseDatabaseWrapper) -> None:
    if database_of(connection).reads_uncommitted():
        raise ImproperlyConfigured(
            f"The database {connection.alias!r} holds keys and is read with the isolation level "
            '"read uncommitted": values would be stored under key versions that are never '
            'committed. Set "isolation_level": "read committed" in its OPTIONS.'
        )


def holds(table: Table) -> bool:
    """Whether a table is that of this thread's transaction, as far as it is known."""
    hooks = connections[configuration().database].run_on_commit
    return _own.table is table and _own.hooks is hooks and _own.epoch == epoch


def _forget_transactions() -> None:
    """Drop the tables of all threads."""
    global epoch
    epoch += 1
    _own.hooks = None
    _end_table_of_transaction()


def _end_table_of_transaction() -> None:
    table, _own.table = _own.table, None
    if table is not None:
        table.end()


def on_refresh(listener: Callable[[], None]) -> None:
    """Call `listener` when keys are about to be read anew, about every `KEY_CACHE_SECONDS`."""
    if listener not in _refresh_listeners:  # apps may be made ready several times
        _refresh_listeners.append(listener)


def forget() -> None:
    """Drop what is known of keys: the next use reads the database. Material stays."""
    empty = Table(seconds=0)
    with _lock:
        before, known.table = known.table, empty
        previous, known.previous = known.previous, set()
    for table in (before, *previous):
        table.end()
    _forget_transactions()


def evict() -> None:
    """Drop everything, wiping the plaintext material: the next use asks the root key."""
    materials.evict()  # and what is known, too: see `_dropped`


def _settings_changed(*, setting: str, **_: Any) -> None:
    # A test case with `available_apps` flushes the keys, and no other signal is sent.
    if setting in (SETTING, "INSTALLED_APPS"):
        evict()


def _dropped(version_id: bytes | None) -> None:
    """Drop what is known of a version, and what was derived from its material; None is all."""
    if version_id is None:
        forget()
        return
    for table in _valid_tables():
        table.forget_version(version_id)
    _forget_transactions()


def _users_changed() -> None:
    for table in _valid_tables():
        table.policy_data = PolicyData()  # who is deciding now keeps the old one
    _forget_transactions()


def _valid_tables() -> tuple[Table, ...]:
    with _lock:
        return known.table, *known.previous


key_changes.on_change(forget)
key_changes.on_users_change(_users_changed)
materials.on_drop(_dropped)
setting_changed.connect(_settings_changed, dispatch_uid="envelope_fields.keyring")


ASKED_SECONDS = 1.0  # no server takes over faster, and some programs connect for each request
_server: tuple[Any, ...] | None = None  # that keys were read from
_asked_at = -inf


def _connected(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Drop what another server said of keys: one that takes over may lack what was committed last.

    What is written under a key version that the database does not have is lost.
    """
    global _server, _asked_at
    try:
        if connection.alias != configuration().database or uptime() < _asked_at + ASKED_SECONDS:
            return
        server = server_behind(connection)
    except (ImproperlyConfigured, Error):  # the next one may say
        return
    before, _server, _asked_at = _server, server, uptime()
    if before not in (None, server):
        forget()


connection_created.connect(_connected, dispatch_uid="envelope_fields.keyring")


def _after_fork() -> None:
    global _lock
    _lock = RLock()  # a thread of the parent may have held it
    forget()  # two processes must not share a nonce prefix and its count


forks.in_child(_after_fork)
