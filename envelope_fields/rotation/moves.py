"""What becomes of the values of a batch: the new bytes, or why there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from envelope_fields.exceptions import (
    EnvelopeError,
    KeyAccessDenied,
    RootKeyRefused,
    RootKeyUnavailable,
)
from envelope_fields.rotation.statements import Change, Stored

# What is wrong with a key is wrong with every value under it.
STOPPING = (KeyAccessDenied, RootKeyRefused, RootKeyUnavailable, ImproperlyConfigured)


def stops(error: Exception) -> bool:
    """Whether an error is about more than the value that met it: the run ends, and says so."""
    return isinstance(error, STOPPING) or isinstance(error.__cause__, DatabaseError)


@dataclass(frozen=True, slots=True)
class Failed:
    """A value that could not be moved; nothing of the value itself.

    Attributes:
        stored: where it is, and what is in front of its payload.
        cause: the class of the error.
        message: the error.
    """

    stored: Stored
    cause: str
    message: str


@dataclass(slots=True)
class Moves:
    """What is to be written, what failed, and how many values are where they belong already."""

    changes: list[Change] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    kept: int = 0

    def fail(self, stored: Stored, error: Exception) -> None:
        """Report a value and go on with the next."""
        message = str(error) if isinstance(error, EnvelopeError) else ""
        self.failed.append(Failed(stored, type(error).__name__, message))


class Mover(Protocol):
    """Moves values: by a rewrap, or by a re-encryption.

    Attributes:
        whole: whether a change has the whole new value, or only what is in front of the payload.
    """

    whole: bool

    def moves(self, stored: Sequence[Stored]) -> Moves:
        """Return what becomes of some values.

        Raises:
            EnvelopeError, ImproperlyConfigured: no value under these keys can be moved.
        """

    def may_still_write(self, since: float) -> bool:
        """Whether the keys of the last moves are such that these may be committed now.

        Args:
            since: when the transaction began, on the clock of `monotonic`.
        """
