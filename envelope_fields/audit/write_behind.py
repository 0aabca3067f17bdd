"""What is gathered in memory, and written to the keys' database where that disturbs nothing.

It is written after requests, when keys are read anew, and at the end of the process, however that
was started: `atexit` is not asked where a child of `multiprocessing` or of billiard ends, nor where
Celery's prefork pool ends one of its processes. A process that is killed takes with it what it had
gathered.
"""

import atexit
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_finished, request_started
from django.db import connections

from envelope_fields import forks, keyring
from envelope_fields.conf import configuration
from envelope_fields.databases import may_wait, transactions

PAUSE_SECONDS = 10  # after a failure, or each request would wait for a database that is down


class WriteBehind(ABC):
    """A buffer that is written as soon as that is possible; nothing that goes wrong is raised.

    Args:
        logger: where that is logged.
        here: of a thread: `came` says whether its request has put something here; the others may
            have nothing to do with a database. Without it, every request writes.
    """

    SECONDS: ClassVar[float] = 0  # from one time to the next
    FAILED: ClassVar[str]
    LEVEL: ClassVar[int] = logging.WARNING

    def __init__(self, logger: logging.Logger, thread: Any = None) -> None:
        self._logger = logger
        self._thread = thread
        self.clear()
        forks.in_child(self.clear)  # it is the parent's to write

    def clear(self) -> None:
        """Drop everything."""
        self.database: Any = None  # of the keys, when something was put here: tests change it
        self.due_at = monotonic() + self.SECONDS  # before this time, requests write nothing
        self.held_until = -inf  # nor does other code, since others hold a lock
        self.is_empty = True  # whether there is surely nothing; most requests end so

    @abstractmethod
    def is_waiting(self, *, last: bool = False) -> bool:
        """Whether there is something to write; the last time, also what would wait for more."""

    def may_write(self, using: str) -> bool:
        """Whether what is written now is committed, and nothing waits for it."""
        connection = connections[using]
        return not connection.in_atomic_block and transactions.autocommits(connection)

    @abstractmethod
    def write(self, using: str) -> None:
        """Write everything; what could not be written is kept."""

    def connect(self) -> None:
        """Write when there is time."""
        request_started.connect(self._begin_request, dispatch_uid=(type(self), "write_behind"))
        request_finished.connect(self._end_request, dispatch_uid=(type(self), "write_behind"))
        keyring.cache.on_refresh(self.write_if_due)
        at_process_end(self.at_end)

    def _begin_request(self, **_: Any) -> None:
        if self._thread is not None:
            self._thread.has_used_key = False

    def _end_request(self, **_: Any) -> None:
        if self._thread is None:
            self.write_if_due()
        elif self._thread.has_used_key:
            self._thread.has_used_key = False
            self.write_if_due()

    def belongs_here(self) -> None:
        """Note that what is gathered from now on belongs to the present database of the keys."""
        self.database = _database_name()
        self.is_empty = False
        cover_process_end()

    def write_if_due(self, **_: Any) -> None:
        """Write where that may be done by now, and it is time."""
        if self.is_empty:
            return
        with self._quietly():
            self.database = _database_name()
            if monotonic() >= max(self.due_at, self.held_until) and self.is_waiting():
                using = configuration().database
                if may_wait() and self.may_write(using):
                    self.due_at = monotonic() + max(self.SECONDS, PAUSE_SECONDS)
                    self._write_and_close(using)
                    self.due_at = monotonic() + self.SECONDS

    def write_now(self) -> None:
        """Write where that may be done by now, unless that was waited for in vain just before."""
        with self._quietly():
            using, is_time = configuration().database, monotonic() >= self.held_until
            if is_time and may_wait() and self.is_waiting() and self.may_write(using):
                self._write_and_close(using)

    def at_end(self, **_: object) -> None:
        """Write what is there, unless the settings now name another database, as after tests."""
        with self._quietly():
            if self.database is not None and self.database == _database_name():
                self.is_waiting(last=True)
                self.held_until = -inf
                self.write_now()

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Log what goes wrong, and no more: it would be the answer to a request.

        Beside errors of databases, there are those of settings, and of tests that allow no
        database.
        """
        began_at = monotonic()
        try:
            yield
        except Exception as error:
            if monotonic() - began_at >= transactions.LOCK_SECONDS:
                self.held_until = monotonic() + PAUSE_SECONDS
            self._logger.log(self.LEVEL, self.FAILED, type(error).__name__)

    def _write_and_close(self, using: str) -> None:
        """Write, and leave no connection open that was not open before."""
        connection = connections[using]
        was_closed = connection.connection is None
        try:
            self.write(using)
        finally:
            if was_closed and not connection.in_atomic_block:
                connection.close()


def _database_name() -> Any:
    """Return where keys are; None where the settings do not say, which a check reports."""
    try:
        return connections[configuration().database].settings_dict["NAME"]
    except ImproperlyConfigured:
        return None


# -- The end of a process ----------------------------------------------------------------------

_functions: list[Callable[[], None]] = []
_covered: set[tuple[int, str]] = set()


def at_process_end(function: Callable[[], None]) -> None:
    """Have `function` called at the ordinary end of this process, once or several times.

    In a child that is forked later, `cover_process_end` has to be called.
    """
    if function not in _functions:  # apps may be made ready several times
        _functions.append(function)
        atexit.register(function)
    cover_process_end()


def cover_process_end() -> None:
    """See that the functions are called at the end of this process, if that is a child.

    What starts processes forgets in the child what was to be done at the end of its parent; and it
    may have been imported only now.
    """
    for name, hook in _HOOKS.items():
        if (os.getpid(), name) not in _covered and name in sys.modules:
            _covered.add((os.getpid(), name))
            hook(name)


def _run(**_: object) -> None:
    for function in _functions:
        function()


def _finalize(module: str) -> None:
    # With a priority, or it is not called at the end.
    sys.modules[module].Finalize(None, _run, exitpriority=1)


def _connect(module: str) -> None:
    sys.modules[module].worker_process_shutdown.connect(
        _run, weak=False, dispatch_uid="envelope_fields.process_end"
    )


_HOOKS = {
    "multiprocessing.util": _finalize,
    "billiard.util": _finalize,
    "celery.signals": _connect,
}
