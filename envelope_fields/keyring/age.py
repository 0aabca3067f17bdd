"""Plaintext material, for how long it may be used, and what holds it: what leaves that is wiped.

Also the clocks that this goes by, and for how long a root key that failed is not asked again.

Its age counts from before the root key was asked for it, and use does not extend it: a process that
is busy asks as often as one that rests. By its greatest age the root key is asked anew; where that
does not answer, the material is used for a time of grace. Both are settings of the root key.
"""

import random
import time
from collections.abc import Callable
from functools import partial
from math import inf
from typing import NamedTuple

from envelope_fields.conf import configuration
from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import RootKeyUnavailable, copied

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


class Silence:
    """That of one root key: where a caller waited in vain, others fail at once for a while.

    It lasts ten times as long as the caller waited. So a root key that hangs takes a tenth of a
    thread's time, however many versions the thread needs; and one that fails within a second is
    asked for each, since what is wrong may be about that one.
    """

    _TIMES = 10
    _NOTICED_SECONDS = 1

    def __init__(self) -> None:
        self._until = 0.0
        self._error: Exception | None = None

    def check(self) -> None:
        """Return if the root key may be asked; else raise what was raised last."""
        error = self._error
        if error is not None and moment().monotonic < self._until:
            raise copied(error)

    def note(self, error: RootKeyUnavailable, since: Moment) -> None:
        """Begin, after the root key was asked `since` then, and did not answer."""
        now = moment().monotonic
        waited = now - since.monotonic
        if waited >= self._NOTICED_SECONDS:
            self._error = copied(error)
            self._until = now + min(self._TIMES * waited, LONGEST_PAUSE_SECONDS)


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
