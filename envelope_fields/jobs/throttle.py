"""How a job is throttled: how many rows a batch has, and how long it rests after one."""

from collections.abc import Callable
from time import monotonic, sleep

from envelope_fields.jobs.job import Limits


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
