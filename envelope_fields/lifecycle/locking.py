"""Transactions of key changes, and the lock that lets operators take turns.

The lock is on the row of the master key, also where a version of it is meant: all acts on one key
follow each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.models import F

from envelope_fields import audit
from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.models import MasterKey, MasterKeyVersion

Key = MasterKey | UUID | str
KeyOrVersion = Key | MasterKeyVersion
_Row = TypeVar("_Row", MasterKey, MasterKeyVersion)
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
        with transaction.atomic(using=using, durable=durable):
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
    which = _which(key)
    rows = MasterKey.objects.using(using)
    # SQLite has no row locks: a first write takes its one lock, before anything is read.
    rows.filter(**which).update(state=F("state"))
    row = _there(_same_case(rows.select_for_update().filter(**which).first(), key), using, key)
    check = _expectation.get()
    if check is not None:
        check(row)
    return row


def found(using: str, key: KeyOrVersion) -> MasterKey | MasterKeyVersion:
    """Return the row of a master key or of one of its versions as it is now, without a lock.

    Raises:
        MasterKeyNotFound: there is no such key or version.
    """
    if isinstance(key, MasterKeyVersion):
        versions = MasterKeyVersion.objects.using(using).select_related("master_key")
        return _there(versions.filter(pk=key.pk).first(), using, key)
    return found_key(using, key)


def find_master_key(key: Key) -> MasterKey:
    """Return a master key by its alias or id (KMS: DescribeKey).

    Raises:
        MasterKeyNotFound: there is no such key.
    """
    return found_key(configuration().database, key)


def found_key(using: str, key: Key) -> MasterKey:
    """Return the row of a master key as it is now, without a lock; errors as above."""
    return _there(
        _same_case(MasterKey.objects.using(using).filter(**_which(key)).first(), key), using, key
    )


def _same_case(row: MasterKey | None, key: Key) -> MasterKey | None:
    """Take no row for that of an alias which differs in case: some databases do."""
    return None if row is None or (isinstance(key, str) and row.alias != key) else row


def _there(row: _Row | None, using: str, key: KeyOrVersion) -> _Row:
    if row is None:
        named = repr(key) if isinstance(key, MasterKeyVersion) else f"master key {key}"
        raise MasterKeyNotFound(f"There is no {named} in the database {using!r}.")
    return row


def _which(key: Key) -> dict[str, Any]:
    if isinstance(key, MasterKey):
        return {"pk": key.pk}
    if isinstance(key, UUID):
        return {"pk": key}
    if isinstance(key, str):
        return {"alias": key}
    raise TypeError(f"{type(key).__name__} is not a master key, nor the id or alias of one")


def _older_version(using: str, key: MasterKey, version: MasterKeyVersion) -> MasterKeyVersion:
    row = _there(key.versions.using(using).filter(pk=version.pk).first(), using, version)
    row.master_key = key
    if row.number == key.current_version.number:
        raise MasterKeyUnusable(
            f"{row} is the current one. Rotate the key first, or change the state of the key."
        )
    return row
