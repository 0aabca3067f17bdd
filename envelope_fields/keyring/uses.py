"""What key versions are used for, and how often: counted without a write, harvested by others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import count
from threading import Lock, local

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

# `next` on a count is one step for all threads. Counts outlive tables, so forgetting what is known
# of keys loses no use.
_counts: dict[tuple[bytes, Errand], Iterator[int]] = {}
_harvested: dict[tuple[bytes, Errand], int] = {}
_many: Counter[tuple[bytes, Errand]] = Counter()  # what was counted in one go
_lock = Lock()


class _Here(local):
    """Whether this thread has come for a key since it began what it is at."""

    came = False


here = _Here()


def counted(version_id: bytes, errand: Errand) -> Iterator[int]:
    """Return the count of the uses of a key version: `next` counts one."""
    return _counts.setdefault((version_id, errand), count())


def count_many(version_id: bytes, errand: Errand, uses: int) -> None:
    """Count several uses of a key version at once."""
    with _lock:
        _many[version_id, errand] += uses


def harvest_uses() -> dict[tuple[bytes, str, str], int]:
    """Return how often each key version was used in this process since this was last asked.

    By version id, action and door (`fields` or `kms`); what was not used is left out. A version
    whose making was rolled back may be among them.
    """
    uses: dict[tuple[bytes, str, str], int] = {}
    with _lock:
        for which, uses_so_far in list(_counts.items()):
            now = next(uses_so_far)
            used = now - _harvested.get(which, 0)
            _harvested[which] = now + 1  # asking is a step of the count, too
            if used:
                uses[_named(which)] = used
        for which, used in _many.items():
            uses[_named(which)] = uses.get(_named(which), 0) + used
        _many.clear()
    return uses


def _named(which: tuple[bytes, Errand]) -> tuple[bytes, str, str]:
    version_id, errand = which
    return version_id, str(errand.action), errand.door


def _after_fork() -> None:
    """What the parent has counted is the parent's to tell."""
    global _lock
    _lock = Lock()
    _counts.clear()
    _harvested.clear()
    _many.clear()


os.register_at_fork(after_in_child=_after_fork)
