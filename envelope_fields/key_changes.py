"""Key rows that a connection has changed and not yet committed, and the news of it (law 3).

A change hangs in Django's list of commit callbacks, because that list is what rolls back: a
savepoint, a transaction or a test that ends without a commit takes its changes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db import connections, transaction

from envelope_fields.conf import configuration

_live: set[int] = set()
_listeners: list[Callable[[], None]] = []


class KeyChange:
    """One uncommitted change; as a commit callback it only makes caches forget.

    It is counted from its making until the last reference to it goes, so that `any_uncommitted`
    costs a look at a set. That may be later than the rollback, never earlier. Its end makes caches
    forget too: Django drops the callbacks that come after one that raises.
    """

    def __init__(self, version_ids: Iterable[bytes]) -> None:
        self.version_ids = frozenset(version_ids)
        _live.add(id(self))

    def __del__(self) -> None:
        _live.discard(id(self))
        _forget()

    def __call__(self) -> None:
        _forget()


def announce(using: str, version_ids: Iterable[bytes] = ()) -> None:
    """Say that key rows were changed on the connection `using`, making these new versions."""
    _forget()
    transaction.on_commit(KeyChange(version_ids), using=using)


def on_change(listener: Callable[[], None]) -> None:
    """Call `listener` when key rows are changed in this process, and when that is committed."""
    _listeners.append(listener)


# Whether any connection of this process has uncommitted key changes; a method of the set itself,
# because every value that is read or written asks.
any_uncommitted = _live.__len__


def uncommitted() -> list[KeyChange]:
    """Return the uncommitted key changes of this thread's connection to the keys' database."""
    return [change for _, change in _pending()]


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
    for savepoints, callback, *_ in connections[configuration().database].run_on_commit:
        if isinstance(callback, KeyChange):
            yield savepoints, callback


def _forget() -> None:
    for listener in _listeners:
        listener()
