"""Threads with connections of their own: that begin at once, or that stay in a transaction."""

import threading
from contextlib import contextmanager

from django.db import connection, connections, transaction
from django.db.models import F, QuerySet

from envelope_fields.models import MasterKey


def at_once(*functions):
    """Run the functions together; return what each returned, or the exception that it raised."""
    barrier = threading.Barrier(len(functions))
    outcomes = [None] * len(functions)

    def run(index, function):
        try:
            barrier.wait()
            outcomes[index] = function()
        except Exception as error:
            outcomes[index] = error
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=run, args=[index, function])
        for index, function in enumerate(functions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


class Transaction:
    """A transaction of another connection, in which a function was called; it ends with the block.

    Attributes:
        may_end: set it to end the transaction earlier.
    """

    def __init__(self, function):
        self.may_end = threading.Event()
        self._function = function
        self._is_open = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        assert self._is_open.wait(30)
        return self

    def __exit__(self, *_):
        self.may_end.set()
        self._thread.join()

    def _run(self):
        try:
            with transaction.atomic():
                self._function()
                self._is_open.set()
                self.may_end.wait(30)
        finally:
            connections.close_all()


_IMPATIENT = {
    "sqlite": ("PRAGMA busy_timeout = 100", "PRAGMA busy_timeout = 30000"),
    "postgresql": ("SET lock_timeout = '100ms'", "RESET lock_timeout"),
    "mysql": (
        "SET SESSION innodb_lock_wait_timeout = 1",
        "SET SESSION innodb_lock_wait_timeout = @@GLOBAL.innodb_lock_wait_timeout",
    ),
}


@contextmanager
def locked(key):
    """Have another connection hold the lock on a key, and this one not wait for it for long."""
    rows = QuerySet(MasterKey).filter(pk=key.pk)
    begin, end = _IMPATIENT[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(begin)
    try:
        with Transaction(lambda: rows.update(state=F("state"))):
            yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(end)
