"""What a job asks of a database at most, and when it tries again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from time import monotonic, sleep
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.db import Error

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.keyring.transfer import WRAPS_PER_PREFIX

BATCH_SIZE = 2000

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run asks of a database at most.

    Attributes:
        batch_size: rows of one transaction, at most 4,096.
        batch_seconds: how long one may take; batches grow and shrink to stay below half of it.
        lock_seconds: how long to wait for a lock that another transaction holds.
        max_rate: rows per second; None is as many as it can.
        sleep: seconds to rest after each batch.
        tries: how often in a row the same batch may fail for a reason that passes.
    """

    batch_size: int = BATCH_SIZE
    batch_seconds: float = 10
    lock_seconds: float = 2
    max_rate: float | None = None
    sleep: float = 0
    tries: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= WRAPS_PER_PREFIX:
            raise ValueError(f"batch_size must be from 1 to {WRAPS_PER_PREFIX}")
        if self.max_rate is not None and self.max_rate <= 0:
            raise ValueError("max_rate must be more than 0")
        if min(self.batch_seconds, self.lock_seconds) <= 0:
            raise ValueError("batch_seconds and lock_seconds must be more than 0")
        if self.sleep < 0 or self.tries < 1:
            raise ValueError("sleep must be 0 or more, and tries 1 or more")

    def shared_by(self, workers: int) -> Limits:
        """Return the limits of one of several workers, which keep to the rate together."""
        return self if self.max_rate is None else replace(self, max_rate=self.max_rate / workers)

    def as_json(self) -> dict[str, Any]:
        """Return what `Limits(**...)` makes the same of."""
        return asdict(self)


class RateLimit:
    """Keeps to a rate, by resting after a batch. It does not make up for lost time."""

    def __init__(self, limits: Limits, rest: Callable[[float], object] = sleep) -> None:
        self._limits = limits
        self._rest = rest
        self._began = monotonic()

    def after(self, rows: int) -> None:
        """Rest as long as a batch of so many rows asks for."""
        wanted = self._limits.sleep
        if self._limits.max_rate is not None:
            wanted = max(wanted, self._began + rows / self._limits.max_rate - monotonic())
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


def retry(
    attempt: Callable[[], _Answer],
    tries: int,
    handle: Callable[[Error, int], object],
) -> _Answer:
    """Return what a call returns, trying again where its database error passes.

    Args:
        attempt: the call.
        tries: how often it is made at most.
        handle: is given an error that is not the last, and how many there were before; it rests,
            or raises what does not pass.
    """
    for number in range(tries):
        try:
            return attempt()
        except Error as error:
            if number == tries - 1:
                raise
            handle(error, number)
    raise AssertionError("unreachable: the last try returns or raises")


def rest_before_retry(number: int, seconds: float = 0.05) -> None:
    """Rest longer after each failure: a second at most."""
    sleep(min(seconds * 2**number, 1))


def error_text(error: Exception) -> str:
    """Return what an error says, without the rows that some name in further lines."""
    if isinstance(error, EnvelopeError | ImproperlyConfigured):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, Error):
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return type(error).__name__  # of whatever code, with whatever in it
