"""How often a root key is asked: scenes for tests, which assert it, and for `make bench-root-keys`.

Each begins with a process that holds nothing. Values are those of a model whose rows name the key
that they are under.
"""

import os
import threading
import time
from typing import Any, NamedTuple

from django.db import connections

from envelope_fields import keyring
from envelope_fields.root_keys.local import LocalRootKey


class CountedRootKey(LocalRootKey):
    """A root key on this machine that takes its time, and counts what it opens.

    Attributes:
        opened: how often it was asked to open something.
        error: what it raises instead.
        answer: what it does before it answers.
    """

    opened = 0
    error = None
    answer = staticmethod(lambda: None)
    _lock = threading.Lock()

    def unwrap(self, wrapped, context):
        with self._lock:
            CountedRootKey.opened += 1
        self.answer()
        if self.error is not None:
            raise self.error
        return super().unwrap(wrapped, context)


class Asked:
    """How often the root key was asked inside, and how many seconds that took."""

    def __enter__(self):
        self._before, self._began = CountedRootKey.opened, time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self._began
        self.times = CountedRootKey.opened - self._before


class Values(NamedTuple):
    """Rows of a model: one of each key.

    Attributes:
        model: a model with the columns `tenant`, the alias of a key, and
        field: an encrypted field.
    """

    model: Any
    field: str

    def store(self, aliases):
        for alias in aliases:
            self.model.objects.create(tenant=alias, **{self.field: "x"})

    def load(self):
        return list(self.model.objects.all())

    def read(self, alias):
        assert getattr(self.model.objects.filter(tenant=alias).first(), self.field) == "x"

    def write(self, alias):
        self.model.objects.create(tenant=alias, **{self.field: "x"})


def over_time(act, clock, seconds, every=60):
    """Return how often is asked in a process that does something all the time."""
    keyring.evict()
    with Asked() as asked:
        for _ in range(0, seconds, every):
            try:
                act()
            except Exception as error:
                if CountedRootKey.error is None:
                    raise AssertionError from error
            clock.move(every)
    return asked.times


def beginning(values):
    """Return how often a process has asked that began, loaded all, read one, and read all."""
    keyring.evict()
    before = CountedRootKey.opened
    rows = values.load()
    counts = [CountedRootKey.opened - before]
    for some in (rows[:1], rows[1:]):
        for row in some:
            getattr(row, values.field)
        counts.append(CountedRootKey.opened - before)
    return counts


def at_once(act, threads):
    """Return how often is asked where threads need one key at once, and their seconds."""
    keyring.evict()
    begin = threading.Barrier(threads)
    errors = []

    def run():
        try:
            begin.wait(60)
            act()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    running = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    with Asked() as asked:
        for thread in running:
            thread.start()
        for thread in running:
            thread.join(60)
    assert not errors
    return asked


def in_processes(act, processes):
    """Return how often is asked in each of some processes that are forked from one with nothing."""
    keyring.evict()
    connections.close_all()
    counts = []
    for _ in range(processes):
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            times = 255
            try:
                with Asked() as asked:
                    act()
                    act()
                times = asked.times
            finally:
                os.write(writing, bytes([times]))
                os._exit(0)
        os.close(writing)
        counts.append(os.read(reading, 1)[0])
        os.close(reading)
        os.waitpid(pid, 0)
    return counts
