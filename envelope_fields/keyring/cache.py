"""What this process knows of keys: the table that serves all threads, until its time is over.

While this thread's connection has uncommitted key changes nothing is kept at all (law 3); a
transaction that sees a `snapshot` of the past keeps what it learns to itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import RLock
from time import monotonic
from typing import Any

from django.core.signals import setting_changed

from envelope_fields.conf import SETTING
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import materials, snapshots
from envelope_fields.keyring.bound import table_now
from envelope_fields.keyring.table import Table
from envelope_fields.models import key_changes
from envelope_fields.policy.data import PolicyData

uncommitted = key_changes.live  # a set: whether it is empty is seen without a call


class _OfProcess:
    """The table of the process, and those before it by which objects were loaded."""

    __slots__ = ("previous", "table")

    def __init__(self) -> None:
        self.table = Table(seconds=0)
        self.previous: list[Table] = []  # as long as they are valid


known = _OfProcess()
# Of what is known, so that no table is lost: it has to end, too. Keys may be forgotten while they
# are, by what is collected as garbage.
_lock = RLock()
_refresh_listeners: list[Callable[[], None]] = []


def current_table(at_half_life: bool = False) -> Table:
    """Return the table to look into and to fill: one for this call or transaction, or the cache.

    Args:
        at_half_life: whether the cache is filled anew when half of its time is over.
    """
    if uncommitted and key_changes.uncommitted():
        return Table(seconds=0)
    own = snapshots.table()
    if own is not None:
        return own
    table = known.table
    if monotonic() >= (table.half_life if at_half_life else table.deadline):
        table = table_now()
        _replace_by(table)
        for listener in _refresh_listeners:
            listener()
    return table


def table_to_load_by() -> Table:
    """Return the table by which objects are loaded: one that is valid for half its time yet."""
    if monotonic() < known.table.half_life:
        return current_table()
    try:
        return current_table(at_half_life=True)
    except MasterKeyUnusable:  # what is known is valid until its time is over
        if monotonic() < known.table.deadline:
            return known.table
        raise


def _replace_by(table: Table) -> None:
    """Have a table serve the process; those before it are kept for what was loaded by them."""
    with _lock:
        before = [*known.previous, known.table]
        known.table = table
        known.previous = [each for each in before if monotonic() < each.deadline]
    for each in before:
        if each not in known.previous:
            each.end()


def on_refresh(listener: Callable[[], None]) -> None:
    """Call `listener` when keys are about to be read anew, about every `KEY_CACHE_SECONDS`."""
    _refresh_listeners.append(listener)


def forget() -> None:
    """Drop what is known of keys: the next use reads the database. Material stays."""
    with _lock:
        before = known.table, *known.previous
        known.table, known.previous = Table(seconds=0), []
    for table in before:
        table.end()
    snapshots.forget()


def evict() -> None:
    """Drop everything, wiping the plaintext material: the next use asks the root key."""
    forget()
    materials.evict()


def _settings_changed(*, setting: str, **_: Any) -> None:
    # A test case with `available_apps` flushes the keys, and no other signal is sent.
    if setting in (SETTING, "INSTALLED_APPS"):
        evict()


def _users_changed() -> None:
    with _lock:
        tables = known.table, *known.previous
    for table in tables:
        table.facts = PolicyData()  # who is deciding now keeps the old one
    snapshots.forget()


key_changes.on_change(forget)
key_changes.on_users_change(_users_changed)
setting_changed.connect(_settings_changed, dispatch_uid="envelope_fields.keyring")


def _after_fork() -> None:
    global _lock
    _lock = RLock()  # a thread of the parent may have held it
    forget()  # two processes must not share a nonce prefix and its count


os.register_at_fork(after_in_child=_after_fork)
