"""For how long material may be used, and what is known of keys; and the clocks that this goes by.

The age of material counts from before the root key was asked for it, and use does not extend it: a
process that is busy asks as often as one that rests. By its greatest age the root key is asked
anew; where that does not answer, the material is used for a time of grace. Both are settings of the
root key. What holds material wipes what leaves it.

A key that is shredded must not be written under any more, so its shredder waits until no process
can go by what it knew before. Each has a `KEY_CACHE_SECONDS` of its own; the bound of them all is a
row in the keys' database. A process that starts with more raises it first, and each goes by the
bound where that is less. Lowering it is an act of `envelope_fields.lifecycle`.
"""

import logging
import random
import time
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, NamedTuple

from django.db import DatabaseError, connections, transaction

from envelope_fields.conf import configuration
from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.databases import transactions
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring.rows import explained
from envelope_fields.models import KeyCacheBound

_logger = logging.getLogger(__name__)

# Where a root key refused one version, the others under it are asked for within this time, not all
# at once.
ASKED_WITHIN_SECONDS = 60
# Material is renewed early by up to this share of its time, at random, since processes that began
# together would ask together each time.
EARLY_SHARE = 0.1
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
# Longer than a client library takes for all its attempts. What has not come by then never comes:
# whatever asked was interrupted between two steps.
WAIT_SECONDS = 30
BOUND = 1  # the row of the bound of key caches


class Moment(NamedTuple):
    """A moment by three clocks, in seconds.

    One stands still while the machine sleeps, and one is set by people.
    """

    monotonic: float
    boot: float
    wall: float

    def age(self) -> float:
        """Return how many seconds ago it was, by the clock on which it is longest ago."""
        return self.age_at(moment())

    def age_at(self, now: "Moment") -> float:
        """Return the same as of another moment."""
        return max(now.monotonic - self.monotonic, now.boot - self.boot, now.wall - self.wall)


def _uptime() -> Callable[[], float]:
    # Linux has a clock that goes on while the machine sleeps; elsewhere `monotonic` does.
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if boot is None else partial(time.clock_gettime, boot)


# Seconds since the machine was started, asleep or not. What is known of keys goes by it, and what
# was derived from them: a call costs 0.1 µs, and there is one for each value.
uptime = _uptime()


def moment() -> Moment:
    """Return now."""
    return Moment(time.monotonic(), uptime(), time.time())


class Pause:
    """How long a root key that did not answer is not asked again: longer each time, at random."""

    __slots__ = ("_seconds", "until")

    def __init__(self) -> None:
        self._seconds = 0.0
        self.until = 0.0  # on the clock of `time.monotonic`

    def begin(self) -> None:
        self._seconds = min(2 * self._seconds or FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self.until = moment().monotonic + self._seconds * random.uniform(0.5, 1)  # noqa: S311

    def is_over(self) -> bool:
        return moment().monotonic >= self.until


class Material(KeyBuffer):
    """What a root key opened, with its age. It is made by the keyring, and wiped there."""

    __slots__ = ("_due_at", "_due_share", "_pause", "_renewed_until", "asked_at", "root_key")

    root_key: str  # its name in the settings
    asked_at: Moment  # from before it was asked
    _due_at: float | None  # as an age
    _due_share: float  # of the time after which it is due
    _renewed_until: float  # on the clock of `time.monotonic`
    _pause: Pause

    @classmethod
    def of(cls, buffer: KeyBuffer, root_key: str, asked_at: Moment) -> "Material":
        """Return material with the bytes of a buffer, which the caller wipes."""
        material = cls(buffer)
        material.root_key, material.asked_at = root_key, asked_at
        material._due_at, material._renewed_until = None, 0.0
        material._pause = Pause()
        material.draw_share()
        return material

    def draw_share(self) -> None:
        """Have it renewed at a moment of its own: not together with what other processes have."""
        self._due_share = random.uniform(1 - EARLY_SHARE, 1)  # noqa: S311

    def is_over(self) -> bool:
        """Whether it may not be used at all: its time of grace has passed."""
        return self.remaining_seconds(moment()) <= 0

    def remaining_seconds(self, now: Moment) -> float:
        """Return for how long it may be used yet, if its root key does not answer."""
        settings = configuration().lifetimes[self.root_key]
        return settings.max_age + settings.grace - self.asked_at.age_at(now)

    def is_due(self, share: float = 1) -> bool:
        """Whether it is time to ask its root key anew, at a share of the greatest age.

        Some time before that, at random.
        """
        age = self.asked_at.age()
        if self._due_at is not None and age >= self._due_at:
            return True
        max_age = configuration().lifetimes[self.root_key].max_age
        return age >= share * self._due_share * max_age

    def begin_renewal(self) -> bool:
        """Whether it is for the caller to ask the root key anew, and to `end_renewal` then.

        Under a lock of the caller's, since one is to ask.
        """
        now = moment().monotonic
        if now < self._renewed_until or not self._pause.is_over():
            return False
        self._renewed_until = now + WAIT_SECONDS
        return True

    def end_renewal(self, *, answered: bool) -> None:
        """Let the next caller ask, after a pause where the root key did not answer."""
        if not answered:
            self._pause.begin()
        self._renewed_until = 0.0

    def ask_soon(self) -> None:
        """Have the root key asked anew within `ASKED_WITHIN_SECONDS`, at a time of its own."""
        soon = self.asked_at.age() + random.uniform(0, ASKED_WITHIN_SECONDS)  # noqa: S311
        self._due_at = soon if self._due_at is None else min(soon, self._due_at)


class Store(dict[KeyVersionContext, Material]):
    """The material of key versions, as long as it may be used.

    By the whole context: a row that was altered since is not taken for the same. The caller has a
    lock of it, since others must not wipe what is used; a signal handler of its own thread may
    come in between two steps.
    """

    def usable(self, context: KeyVersionContext) -> Material | None:
        """Return the material of a version, if it is here and its time is not over."""
        material = self.get(context)
        if material is not None and material.is_over():
            self.drop(context, material)
            return None
        return material

    def replace(self, context: KeyVersionContext, material: Material, found: Material) -> None:
        """Have other material in the place of some; wipe it where that was evicted meanwhile."""
        if self.get(context) is not material:
            wipe(found)
            return
        self[context] = found
        wipe(material)

    def drop(self, context: KeyVersionContext, material: Material) -> None:
        """Wipe material, here or not."""
        if self.get(context) is material:
            self.pop(context, None)
        wipe(material)

    def ask_soon(self, root_key: str) -> None:
        """Have a root key that refused one version be asked for the others that it opened."""
        for material in tuple(self.values()):
            if material.root_key == root_key:
                material.ask_soon()

    def remaining_seconds(self) -> float:
        """Return for how long all that is here may be used yet; what may not be is wiped."""
        self.wipe_what_is_over()
        now = moment()
        return min((each.remaining_seconds(now) for each in tuple(self.values())), default=inf)

    def lasts(self, context: KeyVersionContext, until: float) -> bool:
        """Whether material is here, and may be used until a time of `age.uptime`."""
        now, material = moment(), self.get(context)
        return material is not None and material.remaining_seconds(now) >= until - now.boot

    def wipe_what_is_over(self) -> None:
        """Wipe what may not be used any more, and what nothing has asked for since."""
        for context in tuple(self):
            self.usable(context)

    def wipe(self) -> None:
        """Wipe everything."""
        for context, material in tuple(self.items()):
            self.drop(context, material)


# -- What is known of keys -------------------------------------------------------------------------

_raised_to: float | None = None  # the setting of this process, once the bound covers it


def cache_seconds() -> float:
    """Return how long what is read of keys from now on may be gone by.

    Raises:
        MasterKeyUnusable: the keys' database could not be read, or has no number there.
    """
    wanted = configuration().key_cache_seconds
    if not wanted:
        return wanted
    using = configuration().database
    with explained(using):
        bound = _read(using)
        if bound is None or (bound < wanted and _raised_to != wanted):
            bound = _raise(using, wanted, bound or 0)
    return min(wanted, bound)


def _read(using: str) -> float | None:
    bounds = KeyCacheBound.objects.using(using).filter(pk=BOUND)
    found = bounds.values_list("seconds", flat=True).first()
    if found is None or isinstance(found, float):
        return found
    raise MasterKeyUnusable(
        f"The bound of key caches in the database {using!r} is not a number: set `seconds` of its "
        "one row, a KeyCacheBound, to the longest KEY_CACHE_SECONDS of any process."
    )


def _raise(using: str, seconds: float, bound: float) -> float:
    """Raise the bound to `seconds` if that is possible, and return what may be relied on now."""
    try:
        if transactions.in_transaction(using) and not transactions.in_test(using):
            if not transactions.has_autonomous(using):
                _raise_after(using, seconds)
                return bound
            transactions.autonomous(partial(_write, using, seconds), using)
        else:
            _write(using, seconds)
    except DatabaseError as error:  # what was read before may still be relied on
        _logger.warning("The bound of key caches was not raised: %s", type(error).__name__)
        return bound
    return seconds


def _raise_after(using: str, seconds: float) -> None:
    """Raise the bound after this transaction, which on SQLite has the only lock there is."""
    hooks: list[Any] = connections[using].run_on_commit
    if not any(getattr(hook, "func", None) is _write for _, hook, *_ in hooks):
        transaction.on_commit(partial(_write, using, seconds), using=using, robust=True)


def _write(using: str, seconds: float) -> None:
    global _raised_to
    bounds = KeyCacheBound.objects.using(using)
    # Not in one transaction: on MariaDB, two processes would wait for each other.
    bounds.bulk_create([KeyCacheBound(pk=BOUND, seconds=seconds)], ignore_conflicts=True)
    bounds.filter(pk=BOUND, seconds__lt=seconds).update(seconds=seconds)
    _raised_to = seconds
