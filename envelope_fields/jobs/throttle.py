"""How a job is throttled: what it asks of a database at most, how large batches are, and rests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from math import inf
from time import monotonic, sleep
from typing import Any

from envelope_fields.keyring.table import WRAPS_PER_PREFIX

BATCH_SIZE = 2000
NICEST = 100  # the largest `Limits.nice_ratio`
NICE_RATIO = 0.7  # of runs that are not in a hurry: the application comes first


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run asks of a database at most.

    Attributes:
        batch_size: rows of one transaction, at most 4,096.
        batch_seconds: how long one may take; batches grow and shrink to stay below half of it.
        lock_seconds: how long to wait for a lock that another transaction holds.
        max_rate: rows per second; None is as many as it can.
        sleep: seconds to rest after each batch.
        nice_ratio: seconds to rest for each second of work; None is as runs of the kind do.
        tries: how often in a row the same batch may fail for a reason that passes.
    """

    batch_size: int = BATCH_SIZE
    batch_seconds: float = 10
    lock_seconds: float = 2
    max_rate: float | None = None
    sleep: float = 0
    nice_ratio: float | None = None
    tries: int = 5

    def __post_init__(self) -> None:
        if type(self.batch_size) is not int or not 1 <= self.batch_size <= WRAPS_PER_PREFIX:
            raise ValueError(f"batch_size must be from 1 to {WRAPS_PER_PREFIX}")
        if self.max_rate is not None and not 0 < self.max_rate < inf:
            raise ValueError("max_rate must be more than 0")
        if not (0 < self.batch_seconds < inf and 0 < self.lock_seconds < inf):
            raise ValueError("batch_seconds and lock_seconds must be more than 0")
        if not 0 <= self.sleep < inf or type(self.tries) is not int or self.tries < 1:
            raise ValueError("sleep must be 0 or more, and tries 1 or more")
        if self.nice_ratio is not None and not 0 <= self.nice_ratio <= NICEST:
            raise ValueError(f"nice_ratio must be from 0 to {NICEST}")

    @classmethod
    def kept(cls, stored: Any) -> Limits:
        """Return those in the row of a run, which may hold any JSON.

        What this version does not know of it, or does not take, is as it is by default.
        """
        limits = cls()
        for name, value in stored.items() if isinstance(stored, dict) else ():
            with suppress(TypeError, ValueError):
                limits = replace(limits, **{name: value})
        return limits

    def shared_by(self, workers: int) -> Limits:
        """Return the limits of one of several workers, which keep to the rate together."""
        return self if self.max_rate is None else replace(self, max_rate=self.max_rate / workers)

    def nicely(self) -> Limits:
        """Return the limits of a run that is not in a hurry, unless they say how much it rests."""
        return replace(self, nice_ratio=NICE_RATIO) if self.nice_ratio is None else self

    def as_json(self) -> dict[str, Any]:
        """Return what `kept` makes the same of."""
        return asdict(self)


class RateLimit:
    """Keeps to a rate, by resting after a batch. It does not make up for lost time."""

    def __init__(self, limits: Limits, rest: Callable[[float], object] = sleep) -> None:
        self._limits = limits
        self._rest = rest
        self._began = monotonic()

    def after(self, rows: int) -> None:
        """Rest as long as a batch of so many rows asks for."""
        worked = monotonic() - self._began
        wanted = max(self._limits.sleep, worked * (self._limits.nice_ratio or 0))
        if self._limits.max_rate is not None:
            wanted = max(wanted, rows / self._limits.max_rate - worked)
        if wanted > 0:
            self._rest(wanted)
        self._began = monotonic()


class BatchSize:
    """How many rows the next batch has: as many as keep well within its time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # A second's worth at most, so that a low rate is one of small batches, not of long rests.
        self._most = max(1, min(limits.batch_size, int(limits.max_rate or limits.batch_size)))
        self.rows = self._most

    def took(self, seconds: float) -> None:
        """Learn how long a batch took."""
        if seconds > self._limits.batch_seconds / 2:
            self.shrink()
        elif seconds < self._limits.batch_seconds / 8:
            self.rows = min(self.rows * 2, self._most)

    def shrink(self) -> None:
        """Halve the batches."""
        self.rows = max(self.rows // 2, 1)
