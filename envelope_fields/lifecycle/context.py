"""The context of an operation: a transaction, the lock, the policy's decision, and the audit event.

The lock is on the row of the master key, also where a version of it is meant: all operations on one
key follow each other.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model

from envelope_fields import audit
from envelope_fields.conf import configuration
from envelope_fields.databases import in_queries
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.lifecycle import keys
from envelope_fields.lifecycle.keys import Key, KeyOrVersion, existing
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.representation import Row, named, state_content
from envelope_fields.models import AuditEvent, KeyState, MasterKey, MasterKeyVersion
from envelope_fields.models.state_changes import begin_change, begun, look_at_begun
from envelope_fields.policy import Action, Principal, require

_TRIES = 10  # to lock the key that has an alias, while others move it
_Row = TypeVar("_Row", bound=Model)
_expectation: ContextVar[Callable[[Any], None] | None] = ContextVar(
    "envelope_fields.expectation", default=None
)


@contextmanager
def expecting(check: Callable[[Any], None]) -> Iterator[None]:
    """Have operations inside call `check` with each key or run that they lock, before all else.

    It raises if the row is not what the caller has seen, so that of two users who have seen
    the same, one learns that the other was faster.
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

    Raises:
        MasterKeyUnusable: there is such a transaction.
    """
    using = configuration().database
    durable = using != DEFAULT_DB_ALIAS
    if durable:
        refuse_transaction_around("change keys")
    try:
        with audit.act(using, durable=durable):
            yield using
        if begun.moments:
            look_at_begun()
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
            "could be rolled back. Do it outside atomic(), and with autocommit switched on; in a "
            "view, use transaction.non_atomic_requests."
        )


class _Moved(Exception):
    """An alias was moved to another key while the row of the one that had it was waited for."""


@contextmanager
def locking(key: KeyOrVersion) -> Iterator[tuple[str, MasterKey, MasterKeyVersion | None]]:
    """Open a `key_transaction`; yield its database and the rows of a key, locked, and a version.

    Where the alias is moved meanwhile, it begins again without the lock that it has: an alias is
    moved by one who locks both keys in the order of their ids, and would wait for us.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: the version is the current one; or as `key_transaction` does.
    """
    open_until = ExitStack()
    for left in reversed(range(_TRIES)):
        with suppress(_Moved), ExitStack() as stack:
            using = stack.enter_context(key_transaction())
            row, version = _locked(using, key, may_begin_again=left > 0)
            open_until = stack.pop_all()
            break
    with open_until:
        yield using, row, version


def _locked(
    using: str, key: KeyOrVersion, *, may_begin_again: bool
) -> tuple[MasterKey, MasterKeyVersion | None]:
    if isinstance(key, MasterKeyVersion):
        row = locked_key(using, key.master_key_id)
        return row, _older_version(using, row, key)
    if isinstance(key, str):
        return _the_one(_locked_by_alias(using, key, may_begin_again), using, key), None
    return locked_key(using, key), None


def locked_key(using: str, key: MasterKey | UUID) -> MasterKey:
    """Return the row of a master key as it is now, locked until the transaction ends."""
    return _the_one(keys.locked_rows(using, **keys.condition(key)), using, key)


def _the_one(rows: list[MasterKey], using: str, key: Key) -> MasterKey:
    row = existing(keys.same_case(rows[0] if rows else None, key), using, key)
    return as_expected(row)


def locked_keys(using: str, key_ids: Iterable[UUID]) -> list[MasterKey]:
    """Lock master keys in the order of their ids, until the transaction ends; return their rows.

    Raises:
        MasterKeyNotFound: one is not there.
    """
    wanted = sorted(set(key_ids))
    found = [row for some in in_queries(wanted) for row in keys.locked_rows(using, pk__in=some)]
    if len(found) < len(wanted):
        missing = sorted(set(wanted).difference(row.pk for row in found))
        raise MasterKeyNotFound(
            f"Missing in the database {using!r}: the master key {missing[0]}"
            f"{f' and {len(missing) - 1:,} more' if len(missing) > 1 else ''}."
        )
    return [as_expected(row) for row in found]


def _locked_by_alias(using: str, alias: str, may_begin_again: bool) -> list[MasterKey]:
    # By its id: MariaDB locks the alias by which it finds a row, and then the row; where the alias
    # is moved, the row is locked first.
    if may_begin_again and keys.has_row_locks(using):
        found = keys.locked_rows(using, pk=keys.found_key(using, alias).pk)
        if not found or found[0].alias != alias:
            raise _Moved
        return found
    return keys.locked_rows(using, alias=alias)


def as_expected(row: _Row) -> _Row:
    """Return a row that was just locked, if it is what a caller of `expecting` has seen."""
    if check := _expectation.get():
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


_STATE = ("state", "state_changed_at", "deletion_at", "destroyed_at")


@dataclass(slots=True)
class OperationContext:
    """An operation on a key, or a version of it if there is one, whose row is locked."""

    using: str
    principal: Principal
    key: MasterKey
    version: MasterKeyVersion | None = None

    @property
    def row(self) -> Row:
        return self.version or self.key

    def set(self, **columns: Any) -> None:
        """Write columns of the row."""
        for name, value in columns.items():
            setattr(self.row, name, value)
        self.row.save(using=self.using, update_fields=list(columns))

    def become(
        self, state: KeyState, operation: Operation, *, wait: timedelta | None = None, **more: Any
    ) -> None:
        """Write another state, when that was, and where it is one of waiting, until when.

        The audit trail names the operation that leads there, and says `more` beside the state.
        """
        before = state_content(self.row)
        # Until the commit, readers find the state as it was, so there must be little to wait for.
        audit.hold(self.using)
        now = begin_change(self.using)
        self.set(
            state=state, state_changed_at=now, deletion_at=None if wait is None else now + wait
        )
        self.record(operation, before, {**state_content(self.row), **more})

    def is_as(self, read: Row) -> bool:
        """Whether the state is still that of a row that was read before."""
        row = self.row
        return (row.state, row.state_changed_at) == (read.state, read.state_changed_at)

    def refuse_unless_as(self, read: Row, advice: str = "") -> None:
        """Raise `MasterKeyUnusable` if the state was changed since a row was read."""
        if not self.is_as(read):
            raise MasterKeyUnusable(
                f"The state of {named(self.row)} was changed while the values under it were "
                f"counted: it is {self.row.state.replace('_', ' ')}.{advice}"
            )

    def record(self, action: str, before: dict[str, Any], after: dict[str, Any]) -> AuditEvent:
        """Append the audit event to the same transaction (law 9)."""
        return audit.record(
            action,
            actor=self.principal,
            using=self.using,
            key=self.key,
            version=self.version,
            before=before,
            after=after,
        )


@contextmanager
def performing(
    operation: Operation, key: KeyOrVersion, actor: Any, action: Action | None = None
) -> Iterator[OperationContext]:
    """Lock a key, ask the policy, and let the block do it; then update the caller's row.

    Args:
        operation: what is done.
        key: to which key or version.
        actor: on whose behalf; None is the current principal.
        action: what the principal needs, where it is not the operation's.

    Raises:
        MasterKeyNotFound, MasterKeyUnusable, TypeError: as `locking` does.
        KeyAccessDenied: the principal may not.
    """
    with locking(key) as (using, row, version):
        principal = require(action or operation.action, row, actor, using=using)
        yield (done := OperationContext(using, principal, row, version))
    update_known(key, done.row)


@contextmanager
def performing_again(
    operation: Operation, first: OperationContext, key: KeyOrVersion, actor: Any
) -> Iterator[OperationContext]:
    """Lock what `first` was done to once more, after values were counted; see `performing`."""
    which = copy(first.row)  # `performing` updates it
    with expecting(lambda _: None), performing(operation, which, actor) as done:
        yield done
    update_known(key, done.row)


def switch(operation: Operation, key: KeyOrVersion, actor: Any) -> None:
    """Do an operation that changes the state and nothing else; errors as `performing` has them."""
    with performing(operation, key, actor) as done:
        to = keys.state_after(operation, done.row)
        if to != done.row.state:
            done.become(to, operation)


def update_known(known: object, row: Row) -> None:
    """Let the row that the caller holds have what the database has."""
    if isinstance(known, MasterKey | MasterKeyVersion):
        for name in (*_STATE, "alias", "serves_fields") if isinstance(known, MasterKey) else _STATE:
            setattr(known, name, getattr(row, name))
