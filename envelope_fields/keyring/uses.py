"""What key versions are used for, how often and when last: counted without a write, and harvested.

An attempt that the state of a version refuses is no use, and is counted beside them: something
still needs what is under it.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from threading import RLock, local

from envelope_fields.keyring.age import uptime
from envelope_fields.policy import Action


class Purpose:
    """What a key is used for, and through which channel: `fields`, `kms` or `rotation`."""

    __slots__ = ("action", "channel")

    def __init__(self, action: Action, channel: str) -> None:
        self.action = action
        self.channel = channel


READ_FIELD = Purpose(Action.DECRYPT, "fields")
WRITE_FIELD = Purpose(Action.ENCRYPT, "fields")
MOVE_VALUE = Purpose(Action.RE_ENCRYPT, "rotation")
VERIFY_VALUE = Purpose(Action.DECRYPT, "rotation")
WRITE_INDEX = Purpose(Action.GENERATE_MAC, "fields")
FILL_INDEX = Purpose(Action.RE_ENCRYPT, "rotation")
SEARCH_INDEX = Purpose(Action.VERIFY_MAC, "fields")
VERIFY_INDEX = Purpose(Action.RE_ENCRYPT, "rotation")

Which = tuple[bytes, Purpose]


class Uses:
    """The uses of a key version for one purpose: who makes one sets `at`, and takes the next count.

    `next` on a count is one step for all threads. `at` is of `age.uptime`.
    """

    __slots__ = ("at", "count")

    def __init__(self) -> None:
        self.at = 0.0
        self.count: Iterator[int] = count()

    def one(self) -> None:
        """Count a use that is made now."""
        self.at = uptime()
        next(self.count)


@dataclass(slots=True)
class UseCount:
    """How often something was done, and when last, on the clock of `age.uptime`."""

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
        action, channel: what it was wanted for, and through which channel.
        used: the uses.
        refused: the attempts that its state, or that of its key, refused.
    """

    version_id: bytes
    action: str
    channel: str
    used: UseCount
    refused: UseCount


# Counts outlive tables, so forgetting what is known of keys loses no use.
_counts: dict[Which, Uses] = {}
_harvested: dict[Which, int] = {}
_many: dict[Which, UseCount] = {}  # what was counted in one go
_refused: dict[Which, UseCount] = {}
_lock = RLock()  # a signal handler may read a value, too
_first_uses: list[Callable[[], None]] = []
_refusing: list[Callable[[bytes, Purpose], None]] = []


class _Here(local):
    """Whether this thread has used a key since its request or task began."""

    came = False


here = _Here()


def on_first_use(listener: Callable[[], None]) -> None:
    """Call `listener` when this process begins to use a version for something."""
    if listener not in _first_uses:  # apps may be made ready several times
        _first_uses.append(listener)


def on_refused(listener: Callable[[bytes, Purpose], None]) -> None:
    """Call `listener` with each attempt that the state of a version has refused."""
    if listener not in _refusing:
        _refusing.append(listener)


def counted(version_id: bytes, purpose: Purpose) -> Uses:
    """Return the uses of a key version for a purpose, for the caller to count its own."""
    uses = _counts.get((version_id, purpose))
    if uses is None:
        uses = _counts.setdefault((version_id, purpose), Uses())
        for listener in _first_uses:
            listener()
    return uses


def count_many(used: Mapping[bytes, int], purpose: Purpose) -> None:
    """Count several uses of each of some key versions at once."""
    now = uptime()
    with _lock:
        for version_id, times in used.items():
            known = _many.get((version_id, purpose))
            if known is None:
                known = _many[version_id, purpose] = UseCount()
            known.times, known.at = known.times + times, now


def refused(version_id: bytes, purpose: Purpose) -> None:
    """Count an attempt that the state of a version, or of its key, refuses."""
    with _lock:
        _refused.setdefault((version_id, purpose), UseCount()).add(1, uptime())
    for listener in _refusing:
        listener(version_id, purpose)


def harvest() -> list[Harvest]:
    """Return what was counted in this process since this was last asked."""
    found: dict[Which, tuple[UseCount, UseCount]] = {}
    with _lock:
        for which, uses in list(_counts.items()):
            now = next(uses.count)
            times = now - _harvested.get(which, 0)
            _harvested[which] = now + 1  # asking is a step of the count, too
            if times:
                found[which] = UseCount(times, uses.at), UseCount()
        for index, counts in enumerate((_many, _refused)):
            for which in tuple(counts):
                one = counts.pop(which)
                both = found.setdefault(which, (UseCount(), UseCount()))
                both[index].add(one.times, one.at)
    return [
        Harvest(version_id, str(purpose.action), purpose.channel, *both)
        for (version_id, purpose), both in found.items()
    ]


def _after_fork() -> None:
    """Count anew: the parent writes what it has counted."""
    global _lock
    _lock = RLock()
    _counts.clear()
    _harvested.clear()
    _many.clear()
    _refused.clear()


os.register_at_fork(after_in_child=_after_fork)
