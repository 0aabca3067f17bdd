"""Transactions of key changes, and the lock that lets operators take turns.

The lock is on the row of the master key, also where a version of it is meant: all acts on one key
follow each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import F

from envelope_fields import audit
from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyUnusable
from envelope_fields.lifecycle.keys import Key as Key
from envelope_fields.lifecycle.keys import KeyOrVersion as KeyOrVersion
from envelope_fields.lifecycle.keys import condition, existing, same_case
from envelope_fields.lifecycle.keys import find_master_key as find_master_key
from envelope_fields.lifecycle.keys import found as found
from envelope_fields.lifecycle.keys import found_key as found_key
from envelope_fields.models import MasterKey, MasterKeyVersion

_expectation: ContextVar[Callable[[MasterKey], None] | None] = ContextVar(
    "envelope_fields.expectation", default=None
)


@contextmanager
def expecting(check: Callable[[MasterKey], None]) -> Iterator[None]:
    """Have acts inside call `check` with each key that they lock, before they do anything.

    It raises if the key is not what the caller has seen, so that of two operators who have seen
    the same, one is told that the other was faster.
    """
    before = _expectation.get()
    _expectation.set(check)
    try:
        yield
    finally:
        _expectation.set(before)


@contextmanager
def key_transaction() -> Iterator[str]:
    """Open a transaction in the keys' database and yield its alias.

    Where keys have a database of their own, no transaction around it may take the change back
    after values in another database were written under it (law 3).
    """
    using = configuration().database
    durable = using != DEFAULT_DB_ALIAS
    connection = connections[using]
    if durable and not connection.in_atomic_block and not connection.get_autocommit():
        raise MasterKeyUnusable(
            f"Keys change only in transactions of their own, and the database {using!r} has "
            "autocommit switched off. Switch it on for the change."
        )
    try:
        with audit.prepared(using), transaction.atomic(using=using, durable=durable):
            yield using
    except KeyAccessDenied:
        # On SQLite the attempt could not be stored beside the transaction that is over now.
        audit.store_denied()
        raise


def refuse_transaction_around(what: str) -> None:
    """Raise if what is done now could still be taken back, by more than the end of a test.

    Raises:
        MasterKeyUnusable: a transaction is open in the keys' database.
    """
    connection = connections[configuration().database]
    blocks: list[Any] = connection.atomic_blocks
    open_blocks = [block for block in blocks if not block._from_testcase]
    if open_blocks or not (connection.in_atomic_block or connection.get_autocommit()):
        raise MasterKeyUnusable(
            f"Cannot {what} inside a transaction in the database {connection.alias!r}, which "
            "could be rolled back. Do it outside atomic(); in a view, use "
            "transaction.non_atomic_requests."
        )


def locked(using: str, key: KeyOrVersion) -> tuple[MasterKey, MasterKeyVersion | None]:
    """Lock a master key until the transaction ends; return its row, and that of a version.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: the version is the current one.
    """
    if isinstance(key, MasterKeyVersion):
        row = locked_key(using, key.master_key_id)
        return row, _older_version(using, row, key)
    return locked_key(using, key), None


def locked_key(using: str, key: Key) -> MasterKey:
    """Return the row of a master key as it is now, locked until the transaction ends."""
    which = condition(key)
    rows = MasterKey.objects.using(using)
    # SQLite has no row locks: a first write takes its one lock, before anything is read.
    rows.filter(**which).update(state=F("state"))
    row = existing(same_case(rows.select_for_update().filter(**which).first(), key), using, key)
    check = _expectation.get()
    if check is not None:
        check(row)
    return row


def _older_version(using: str, key: MasterKey, version: MasterKeyVersion) -> MasterKeyVersion:
    row = existing(key.versions.using(using).filter(pk=version.pk).first(), using, version)
    row.master_key = key
    if row.number == key.current_version.number:
        raise MasterKeyUnusable(
            f"{row} is the current one. Rotate the key first, or change the state of the key."
        )
    return row
