"""What key versions are used for, how often and when last: counted without a write, and harvested.

An attempt that the state of a version refuses is no use, and is counted beside them: something
still needs what is under it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from threading import Lock, local
from time import monotonic

from envelope_fields.policy import Action


class Errand:
    """What somebody comes for, and through which door: `fields`, `kms` or `rotation`."""

    __slots__ = ("action", "door")

    def __init__(self, action: Action, door: str) -> None:
        self.action = action
        self.door = door


READ_FIELD = Errand(Action.DECRYPT, "fields")
WRITE_FIELD = Errand(Action.ENCRYPT, "fields")
MOVE_VALUE = Errand(Action.RE_ENCRYPT, "rotation")
VERIFY_VALUE = Errand(Action.DECRYPT, "rotation")

Which = tuple[bytes, Errand]


class Uses:
    """The uses of a key version for one errand: who makes one sets `at`, and takes the next count.

    `next` on a count is one step for all threads. `at` is of `monotonic`.
    """

    __slots__ = ("at", "count")

    def __init__(self) -> None:
        self.at = 0.0
        self.count: Iterator[int] = count()

    def one(self) -> None:
        """Count a use that is made now."""
        self.at = monotonic()
        next(self.count)


@dataclass(slots=True)
class Tally:
    """How often something was done, and when last, as `monotonic` tells the time."""

    times: int = 0
    at: float = 0.0

    def add(self, times: int, at: float) -> None:
        self.times += times
        self.at = max(self.at, at)


@dataclass(frozen=True, slots=True)
class Harvest:
    """What a key version was used for since this was last asked, and refused for.

    Attributes:
        version_id: of the version. Its making may have been rolled back.
        action, door: what it was wanted for, and through which door.
        used: the uses.
        refused: the attempts that its state, or that of its key, refused.
    """

    version_id: bytes
    action: str
    door: str
    used: Tally
    refused: Tally


# Counts outlive tables, so forgetting what is known of keys loses no use.
_counts: dict[Which, Uses] = {}
_harvested: dict[Which, int] = {}
_many: dict[Which, Tally] = {}  # what was counted in one go
_refused: dict[Which, Tally] = {}
_lock = Lock()
_beginning: list[Callable[[], None]] = []
_refusing: list[Callable[[bytes, Errand], None]] = []


class _Here(local):
    """Whether this thread has come for a key since it began what it is at."""

    came = False


here = _Here()


def on_beginning(listener: Callable[[], None]) -> None:
    """Call `listener` when this process begins to use a version for something."""
    _beginning.append(listener)


def on_refused(listener: Callable[[bytes, Errand], None]) -> None:
    """Call `listener` with each attempt that the state of a version has refused."""
    _refusing.append(listener)


def counted(version_id: bytes, errand: Errand) -> Uses:
    """Return the uses of a key version for an errand, for the caller to count its own."""
    uses = _counts.get((version_id, errand))
    if uses is None:
        uses = _counts.setdefault((version_id, errand), Uses())
        for listener in _beginning:
            listener()
    return uses


def count_many(version_id: bytes, errand: Errand, uses: int) -> None:
    """Count several uses of a key version at once."""
    with _lock:
        _many.setdefault((version_id, errand), Tally()).add(uses, monotonic())


def refused(version_id: bytes, errand: Errand) -> None:
    """Count an attempt that the state of a version, or of its key, refuses."""
    with _lock:
        _refused.setdefault((version_id, errand), Tally()).add(1, monotonic())
    for listener in _refusing:
        listener(version_id, errand)


def harvest() -> list[Harvest]:
    """Return what was counted in this process since this was last asked."""
    found: dict[Which, tuple[Tally, Tally]] = {}
    with _lock:
        for which, uses in list(_counts.items()):
            now = next(uses.count)
            times = now - _harvested.get(which, 0)
            _harvested[which] = now + 1  # asking is a step of the count, too
            if times:
                found[which] = Tally(times, uses.at), Tally()
        for which, tally in _many.items():
            found.setdefault(which, (Tally(), Tally()))[0].add(tally.times, tally.at)
        for which, tally in _refused.items():
            found.setdefault(which, (Tally(), Tally()))[1].add(tally.times, tally.at)
        _many.clear()
        _refused.clear()
    return [
        Harvest(version_id, str(errand.action), errand.door, *tallies)
        for (version_id, errand), tallies in found.items()
    ]


def harvest_uses() -> dict[tuple[bytes, str, str], int]:
    """Return how often each key version was used in this process since this was last asked.

    By version id, action and door; what was not used is left out.
    """
    return {
        (each.version_id, each.action, each.door): each.used.times
        for each in harvest()
        if each.used.times
    }


def _after_fork() -> None:
    """What the parent has counted is the parent's to tell."""
    global _lock
    _lock = Lock()
    _counts.clear()
    _harvested.clear()
    _many.clear()
    _refused.clear()


os.register_at_fork(after_in_child=_after_fork)
