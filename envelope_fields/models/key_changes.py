"""Rows of keys that a connection has changed and not yet committed, and who is notified (law 3).

Rows of keys and grants, since what is cached of keys follows from them; and those of users and
their groups, maybe in another database, on which decisions about users are made.

A change hangs in Django's list of commit callbacks, because that list is what rolls back: a
savepoint, a transaction or a test that ends without a commit takes its changes with it. Callbacks
are added to its end and rolled back from its end, so a change stays at the index that it got.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from sys import is_finalizing
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_save, pre_delete

from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError

live: set[int] = set()  # the ids of key changes; every value that is read or written looks at it
_live_users: set[int] = set()
_Row = TypeVar("_Row", bound=models.Model)

_listeners: list[Callable[[], None]] = []
_user_listeners: list[Callable[[], None]] = []


class KeyChange:
    """One uncommitted change; as a commit callback it only makes caches forget.

    It is counted from its making until the last reference to it goes, so that to know whether
    there is any costs a look at a set. That may be later than the rollback, never earlier. Its
    end makes caches forget too: Django drops the callbacks that come after one that raises.

    Attributes:
        version_ids: of the versions that it made.
        index: its place among the commit callbacks of its connection.
    """

    def __init__(self, version_ids: Iterable[bytes], index: int) -> None:
        self.version_ids = frozenset(version_ids)
        self.index = index
        live.add(id(self))

    def __del__(self, is_over: Callable[[], bool] = is_finalizing) -> None:
        if not is_over():  # when the interpreter ends, what this calls may be gone
            live.discard(id(self))
            _forget()

    def __call__(self) -> None:
        _forget()


class UsersChange:
    """An uncommitted change of users or their groups; only what is known of them is forgotten."""

    def __init__(self) -> None:
        _live_users.add(id(self))

    def __del__(self, is_over: Callable[[], bool] = is_finalizing) -> None:
        if not is_over():
            _live_users.discard(id(self))
            _forget_users()

    def __call__(self) -> None:
        _forget_users()


# By version id, so that nothing has to look through the callbacks: a transaction may make a
# thousand keys.
_made: WeakValueDictionary[bytes, KeyChange] = WeakValueDictionary()


def announce(using: str, version_ids: Iterable[bytes] = ()) -> None:
    """Say that key rows were changed on the connection `using`, making these new versions."""
    _forget()
    connection = connections[using]
    change = KeyChange(version_ids, index=len(connection.run_on_commit))
    _call_at_commit(change, connection)
    if _callback(change, connection) is None:
        return  # it is committed
    for version_id in change.version_ids:
        _made[version_id] = change


def announce_users(using: str) -> None:
    """Say that users or their groups were changed on the connection `using`."""
    _forget_users()
    _call_at_commit(UsersChange(), connections[using])


def _call_at_commit(change: Callable[[], None], connection: BaseDatabaseWrapper) -> None:
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(change, using=connection.alias)
    else:  # Django refuses a hook there, and a rollback drops it all the same
        hooks: list[Any] = connection.run_on_commit
        hooks.append((set(connection.savepoint_ids), change, False))


def announce_new_user() -> None:
    """Say that there is a user who was not there before: no decision was made about them yet."""
    _forget_users()


def on_change(listener: Callable[[], None]) -> None:
    """Call `listener` when key rows are changed in this process, and when that is committed."""
    _listeners.append(listener)


def on_users_change(listener: Callable[[], None]) -> None:
    """Call `listener` when users or their groups are changed, and when that is committed."""
    _user_listeners.append(listener)


any_uncommitted = live.__len__
any_users_uncommitted = _live_users.__len__


def uncommitted() -> KeyChange | None:
    """Return the first uncommitted key change of this thread's connection to the keys' database.

    Under no lock, so that a signal handler may ask, too, whatever it has interrupted.
    """
    callbacks = connections[configuration().database].run_on_commit
    return next((each for _, each, *_ in callbacks if isinstance(each, KeyChange)), None)


def maker_of(version_id: bytes) -> KeyChange | None:
    """Return the uncommitted change of this thread's connection that made a version."""
    change = _made.get(version_id)
    connection = connections[configuration().database]
    return None if _callback(change, connection) is None else change


def users_uncommitted(using: str) -> bool:
    """Whether this thread's connection `using` has changed users or groups in its transaction."""
    callbacks = connections[using].run_on_commit
    return any(isinstance(callback, UsersChange) for _, callback, *_ in callbacks)


def can_vanish(version_id: bytes) -> bool:
    """Whether the row of a key version goes if a transaction around this code is rolled back.

    The transactions that `TestCase` puts around a test do not count, as they do not for
    `atomic(durable=True)`: what is written under the version is rolled back with it. Nor does one
    that was begun inside the test after the version was made.
    """
    connection = connections[configuration().database]
    callback = _callback(_made.get(version_id), connection)
    if callback is None:
        return False
    blocks: list[Any] = connection.atomic_blocks
    of_tests = sum(1 for block in blocks if block._from_testcase)
    # The outermost block is the transaction, and has no savepoint.
    since = set(connection.savepoint_ids[max(of_tests - 1, 0) :])
    return not of_tests or not since.isdisjoint(callback[0])


def _callback(change: KeyChange | None, connection: BaseDatabaseWrapper) -> Any:
    """Return the callback that a change is, with its savepoints; None where it is one no more."""
    if change is None:
        return None
    callbacks = connection.run_on_commit
    expected = callbacks[change.index : change.index + 1]
    return next((each for each in chain(expected, callbacks) if each[1] is change), None)


def _forget() -> None:
    for listener in _listeners:
        listener()


def _forget_users() -> None:
    for listener in _user_listeners:
        listener()


class KeyRowProtected(models.ProtectedError, EnvelopeError):
    """Key rows are never deleted: values under them could not be read any more."""

    def __init__(self, row: models.Model) -> None:
        super().__init__(
            f"{row} cannot be deleted: every value stored under it would be lost. "
            "Disable it instead, with envelope_fields.lifecycle.disable().",
            {row},
        )


class KeyRowQuerySet(models.QuerySet[_Row]):
    """Announces the changes that send no signal."""

    def update(self, **kwargs: Any) -> int:
        self._refuse_written_once(kwargs)
        changed = super().update(**kwargs)
        announce(self.db)
        return changed

    def bulk_create(
        self,
        objs: Any,
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Any = None,
        unique_fields: Any = None,
    ) -> list[_Row]:
        self._refuse_written_once(update_fields or ())
        rows = super().bulk_create(
            objs, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
        )
        announce(self.db, _new_versions(*rows))
        return rows

    def _refuse_written_once(self, names: Iterable[str]) -> None:
        final = set(names) & getattr(self.model, "WRITTEN_ONCE", frozenset())
        if final:
            raise EnvelopeError(f"{', '.join(sorted(final))}: who made a key is written once.")


def _new_versions(*rows: models.Model) -> list[bytes]:
    """Return the ids of those rows that values are written under: versions and pins of indexes."""
    found = (getattr(row, "made_id", None) or getattr(row, "version_id", None) for row in rows)
    return [bytes(each) for each in found if each is not None]


def _announce_saved(*, instance: models.Model, created: bool, using: str, **_: Any) -> None:
    announce(using, _new_versions(instance) if created else ())


def _refuse_deletion(*, instance: models.Model, **_: Any) -> None:
    # QuerySet.delete() and cascades do not call Model.delete(); they do send this signal.
    raise KeyRowProtected(instance)


def announce_saved(model: type[models.Model]) -> None:
    """Announce what is saved of a model's rows."""
    post_save.connect(_announce_saved, sender=model, dispatch_uid="envelope_fields.announce")


def protect(model: type[models.Model]) -> None:
    """Announce what is saved of a model's rows, and refuse to delete them."""
    announce_saved(model)
    keep(model)


def keep(model: type[models.Model]) -> None:
    """Refuse to delete a model's rows."""
    pre_delete.connect(_refuse_deletion, sender=model, dispatch_uid="envelope_fields.protect")
