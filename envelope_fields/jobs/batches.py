"""Batches: read what is in front of the payloads, process it, and swap what is still the same.

A batch locks rows for one UPDATE, and nothing while it reads or computes. Killed anywhere, it has
happened and is counted, or it has not: how many values were moved is written in the same
transaction, or in one that is committed right after, where keys are in another database.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from math import inf
from time import monotonic, sleep
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.census.columns import CensusFailed, Column
from envelope_fields.conf import configuration
from envelope_fields.databases import database
from envelope_fields.databases.errors import Transient, is_about_rows, passes, transient
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.jobs.job import BatchResult, Change, Failed, Job, Key, Stored, Wanted
from envelope_fields.jobs.statements import statements
from envelope_fields.jobs.throttle import BatchSize, Limits, RateLimit
from envelope_fields.keyring.age import uptime

_Answer = TypeVar("_Answer")

# Where whole values are in memory at once, and go to the database in one statement: MySQL's and
# MariaDB's max_allowed_packet may be as low as 4 MiB, and some bytes are escaped.
BYTES_AT_ONCE = 2 * 2**20

_TOO_LARGE = (
    "ValueTooLarge",
    "It is larger than max_allowed_packet of the server, which would cut it. Raise that first.",
)


class _InVain(Exception):
    """A batch took too long for what was known of its keys, or that has changed."""


def _unrecorded(moved: int) -> None:
    """Record nothing."""


class Batches:
    """Goes through rows of one column in the order of their primary keys.

    Args:
        job: what is done with its values.
        limits: what it asks of the database at most.
        record: writes to the keys' database how many more were moved, where that and the move are
            committed together.
        looks_back: whether to look at what was written, as in each pass but the first.
    """

    def __init__(
        self,
        column: Column,
        job: Job,
        limits: Limits,
        record: Callable[[int], object] = _unrecorded,
        *,
        looks_back: bool = False,
    ) -> None:
        self.column = column
        self._job = job
        self._record = record
        self._looks_back = looks_back and job.replaces_heads
        self._statements = statements(column)
        self._using = column.database
        if job.writes:
            _refuse_without_autocommit(self._statements.connection)
        self._limits = limits
        self._rate = RateLimit(limits)
        # A batch that takes longer than a process may go by what it knows of keys may be in vain.
        longest = min(limits.batch_seconds, configuration().key_cache_seconds or inf)
        self._size = BatchSize(replace(limits, batch_seconds=longest))

    def between(
        self, version_ids: Sequence[bytes] | None, after: Key | None, until: Key | None
    ) -> Iterator[BatchResult]:
        """Process the values under these versions, in rows behind `after` and up to `until`.

        Yields once for each batch, when it is committed, and rests after that.

        Args:
            version_ids: the key versions; None for every value, whatever it is.
            after: the key to begin behind; None is the first.
            until: the key to end with; None is the last.

        Raises:
            EnvelopeError, ImproperlyConfigured: no value can be processed, or the rows are hidden.
            Error: the database failed, and it was not for a reason that passes.
        """
        self._retried(partial(database(self._using).refuse_hidden, self.column.table_sql))
        while True:
            rows = self._size.rows
            wanted = Wanted(version_ids, after, until, rows)
            stored = self._retried(partial(self._job.stored, self._statements, wanted))
            if not stored:
                return
            result = self._processed(self._statements.only(version_ids, stored))
            yield result
            self._rate.after(result.values)
            if len(stored) < rows:
                return
            after = stored[-1].key

    def _processed(self, stored: list[Stored]) -> BatchResult:
        began = monotonic()
        result = BatchResult()
        fitting = self._fitting(stored, result) if self._job.writes else stored
        for portion in portions(fitting, by_size=self._job.reads_payloads):
            outcome = self._job.process(portion)
            result.kept += outcome.kept
            result.failed += outcome.failed
            self._swap(outcome.changes, result)
        result.skipped = len(stored) - result.moved - result.kept - len(result.failed)
        self._size.took(monotonic() - began)
        return result

    def _fitting(self, stored: list[Stored], result: BatchResult) -> list[Stored]:
        """Report the values that are too large for the database as it is set up now."""
        largest = self._statements.largest(replaces_payload=self._job.replaces_payload)
        if largest is None:
            return stored
        if self._job.compares_values:
            largest //= 2  # the old value is in the statement, too
        large = [value for value in stored if value.size > largest]
        result.failed += [Failed(value, *_TOO_LARGE) for value in large]
        return [value for value in stored if value.size <= largest] if large else stored

    def _swap(self, changes: Sequence[Change], result: BatchResult) -> None:
        """Swap what is still the same; halve what is refused or slow; leave what stays locked."""
        parts, errors = [changes] if changes else [], 0
        while parts and errors < self._limits.tries:
            part = parts.pop()
            middle = len(part) // 2
            try:
                moved, failed = self._swap_once(part, only_free=errors > 0)
                result.moved += moved
                result.failed += failed
            except _InVain:  # the next pass does the rest, maybe under other keys
                errors += 1
                parts += [part[middle:], part[:middle]] if middle else []
            except Error as error:
                is_halved = is_about_rows(error)
                if is_halved and not middle:
                    result.failed.append(self._job.refused(part[0], error))
                    continue
                if not is_halved:
                    is_halved = self._rest(error, errors) is Transient.SLOW
                    errors += 1
                    if is_halved:
                        self._size.shrink()
                parts += [part[middle:], part[:middle]] if is_halved and middle else [part]

    def _swap_once(
        self, changes: Sequence[Change], *, only_free: bool
    ) -> tuple[int, Sequence[Failed]]:
        began, ask = uptime(), self._statements
        with ExitStack() as at_last, self._other_transaction(), transaction.atomic(self._using):
            ask.limit_waiting(self._limits.lock_seconds, self._limits.batch_seconds)
            if only_free or self._job.locks_rows:
                free = self._job.lock(ask, [change.key for change in changes])
                changes = [change for change in changes if change.key in free]
            if changes:
                changes = self._job.unmoved(changes)
            moved = self._job.write(ask, changes) if changes else 0
            if not self._job.may_still_write(began):
                raise _InVain
            failed: Sequence[Failed] = ()
            if moved and self._looks_back:
                moved, failed = self._job.look_back(ask, changes)
            if moved:
                at_last.enter_context(deferred_signals())
                self._record(moved)
            return moved, failed

    def _other_transaction(self) -> AbstractContextManager[Any]:
        """Return the transaction of the keys' database, where that is another one."""
        keys = configuration().database
        return nullcontext() if keys == self._using else transaction.atomic(keys)

    def _retried(self, ask: Callable[[], _Answer]) -> _Answer:
        return retry(ask, self._limits.tries, self._rest)

    def _rest(self, error: Error, attempt: int) -> Transient:
        """Rest, so that the next try may go better; raise what will not pass."""
        connection = self._statements.connection
        what = transient(error, connection)
        is_last = attempt == self._limits.tries - 1
        if what is None or connection.in_atomic_block or (what is Transient.LOST and is_last):
            raise error
        if what is Transient.LOST:
            connection.close()
        rest_before_retry(attempt)
        return what


def retry(
    attempt: Callable[[], _Answer],
    tries: int,
    handle: Callable[[Error, int], object],
) -> _Answer:
    """Return what a call returns, trying again where its database error passes.

    Args:
        attempt: the call.
        tries: how often it is made at most.
        handle: is given an error that is not the last, and how many there were before; it rests,
            or raises what does not pass.
    """
    for number in range(tries):
        try:
            return attempt()
        except (Error, MasterKeyUnusable, CensusFailed) as error:
            # What says that keys or columns could not be read; their database has the reason.
            cause = error if isinstance(error, Error) else error.__cause__
            if number == tries - 1 or not isinstance(cause, Error):
                raise
            try:
                handle(cause, number)
            except Error:
                raise error from error.__cause__
    raise AssertionError("unreachable: the last try returns or raises")


def persist(attempt: Callable[[], _Answer], *aliases: str, tries: int = Limits().tries) -> _Answer:
    """Return what a call returns that may be made again, where an error of a database passes.

    Args:
        attempt: the call; inside a transaction it is made once.
        *aliases: of the databases that it asks beside that of the keys.
        tries: how often it is made at most.
    """

    def rest(error: Error, number: int) -> None:
        if not passes(error, configuration().database, *aliases):
            raise error
        rest_before_retry(number, 0.1)

    return retry(attempt, tries, rest)


def rest_before_retry(number: int, seconds: float = 0.05) -> None:
    """Rest longer after each failure: a second at most."""
    sleep(min(seconds * 2**number, 1))


def portions(stored: Sequence[Stored], *, by_size: bool) -> Iterator[Sequence[Stored]]:
    """Cut a batch into parts of few bytes, each of at least one value; or leave it whole."""
    portion: list[Stored] = []
    size = 0
    for value in stored:
        if by_size and portion and size + value.size > BYTES_AT_ONCE:
            yield portion
            portion, size = [], 0
        portion.append(value)
        size += value.size
    if portion:
        yield portion


def _refuse_without_autocommit(connection: BaseDatabaseWrapper) -> None:
    if not connection.in_atomic_block and not connection.get_autocommit():
        raise ImproperlyConfigured(
            f"The database {connection.alias!r} has autocommit switched off, so no batch would be "
            "committed before the last. Switch it on for the rotation."
        )


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Have a handler of SIGINT or SIGTERM, which may raise, called when the block is over.

    Handlers run in the main thread, between any two of its steps; other threads are not disturbed.
    """
    came: list[tuple[int, Any]] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handlers = {number: handler for number, handler in found.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, lambda *given: came.append(given))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, frame in came:
            handlers[number](number, frame)
