"""Rows that a connection has changed and not yet committed, and the news of it (law 3).

Rows of keys and grants, since what is cached of keys follows from them; and those of users and
their groups, maybe in another database, on which decisions about users are made.

A change hangs in Django's list of commit callbacks, because that list is what rolls back: a
savepoint, a transaction or a test that ends without a commit takes its changes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db import connections, transaction

from envelope_fields.conf import configuration

live: set[int] = set()  # the ids of key changes; every value that is read or written looks at it
_live_people: set[int] = set()
_listeners: list[Callable[[], None]] = []
_people_listeners: list[Callable[[], None]] = []


class KeyChange:
    """One uncommitted change; as a commit callback it only makes caches forget.

    It is counted from its making until the last reference to it goes, so that to know whether
    there is any costs a look at a set. That may be later than the rollback, never earlier. Its
    end makes caches forget too: Django drops the callbacks that come after one that raises.
    """

    def __init__(self, version_ids: Iterable[bytes]) -> None:
        self.version_ids = frozenset(version_ids)
        live.add(id(self))

    def __del__(self) -> None:
        live.discard(id(self))
        _forget()

    def __call__(self) -> None:
        _forget()


class PeopleChange:
    """An uncommitted change of users or their groups; only what is known of them is forgotten."""

    def __init__(self) -> None:
        _live_people.add(id(self))

    def __del__(self) -> None:
        _live_people.discard(id(self))
        _forget_people()

    def __call__(self) -> None:
        _forget_people()


def announce(using: str, version_ids: Iterable[bytes] = ()) -> None:
    """Say that key rows were changed on the connection `using`, making these new versions."""
    _forget()
    transaction.on_commit(KeyChange(version_ids), using=using)


def announce_people(using: str) -> None:
    """Say that users or their groups were changed on the connection `using`."""
    _forget_people()
    connection = connections[using]
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(PeopleChange(), using=using)


def announce_new_person() -> None:
    """Say that there is a user who was not there before: nobody has relied on them yet."""
    _forget_people()


def on_change(listener: Callable[[], None]) -> None:
    """Call `listener` when key rows are changed in this process, and when that is committed."""
    _listeners.append(listener)


def on_people_change(listener: Callable[[], None]) -> None:
    """Call `listener` when users or their groups are changed, and when that is committed."""
    _people_listeners.append(listener)


any_uncommitted = live.__len__
any_people_uncommitted = _live_people.__len__


def uncommitted() -> list[KeyChange]:
    """Return the uncommitted key changes of this thread's connection to the keys' database."""
    return [change for _, change in _pending()]


def people_uncommitted(using: str) -> bool:
    """Whether this thread's connection `using` has changed users or groups in its transaction."""
    return any(isinstance(callback, PeopleChange) for _, callback, *_ in _callbacks(using))


def can_vanish(version_id: bytes) -> bool:
    """Whether the row of a key version goes if a transaction around this code is rolled back.

    The transactions that `TestCase` puts around a test do not count, as they do not for
    `atomic(durable=True)`: what is written under the version is rolled back with it. Nor does one
    that was begun inside the test after the version was made.
    """
    connection = connections[configuration().database]
    blocks: list[Any] = connection.atomic_blocks
    of_tests = sum(1 for block in blocks if block._from_testcase)
    # The outermost block is the transaction, and has no savepoint.
    since = set(connection.savepoint_ids[max(of_tests - 1, 0) :])
    return any(
        version_id in change.version_ids and (not of_tests or not since.isdisjoint(savepoints))
        for savepoints, change in _pending()
    )


def _pending() -> Iterator[tuple[set[str], KeyChange]]:
    """Yield uncommitted changes, each with the savepoints that it was made in."""
    for savepoints, callback, *_ in _callbacks(configuration().database):
        if isinstance(callback, KeyChange):
            yield savepoints, callback


def _callbacks(using: str) -> list[Any]:
    return connections[using].run_on_commit


def _forget() -> None:
    for listener in _listeners:
        listener()


def _forget_people() -> None:
    for listener in _people_listeners:
        listener()
