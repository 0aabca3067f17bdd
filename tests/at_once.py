"""Threads with connections of their own: that begin at once, or that stay in a transaction."""

import threading

from django.db import connections, transaction


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
