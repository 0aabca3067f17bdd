"""Keys that a field chooses by the row, and makes when it needs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from django.core.checks import CheckMessage


class RowKey(ABC):
    """A `key=` that gives each row the alias of its master key, and can make that key.

    A plain function does as well where all keys are made beforehand.

    Attributes:
        managed_by: who manages the keys, by this declaration; None is anybody.
    """

    managed_by: str | None = None

    @abstractmethod
    def __call__(self, instance: Any) -> str:
        """Return the alias of a row's key; for None, raise."""

    @abstractmethod
    def make(self, alias: str, using: str) -> None:
        """Make the key that a value is about to be written under; it may be there meanwhile.

        Reading never comes here.

        Args:
            alias: what the call returned, and no key has.
            using: the database that the value goes to.

        Raises:
            EnvelopeError: it cannot be made here; the message says how it can.
        """

    def names(self, alias: str) -> bool:
        """Whether a row could have this alias."""
        return False

    def check(self, field: Any) -> list[CheckMessage]:
        """Return what is wrong with this as the key of a field."""
        return []


def managed_by(key: Any) -> str | None:
    """Return who manages the key of a field, by the `key=` of its declaration; None is anybody."""
    return key.managed_by if isinstance(key, RowKey) else None
