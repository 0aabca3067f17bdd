"""Keys that a field makes when it needs them: those that it chooses by the row, and `default`."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from django.core.checks import CheckMessage

from envelope_fields.fields.placeholder import is_historical
from envelope_fields.models import DEFAULT_ALIAS

Maker = Callable[[str, str], None]  # given what `RowKey.make` is given

_make_default: Maker | None = None


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


def make_default_by(maker: Maker) -> None:
    """Set what makes the key `default`: nothing else down here knows how."""
    global _make_default
    _make_default = maker


def maker_for(field: Any, alias: str) -> Maker | None:
    """Return what makes the key that a field needs and does not find by its alias, or None.

    A migration may come before the tables are as the code of today has them: it says what it
    depends on instead.
    """
    if isinstance(field.key, RowKey):
        return field.key.make
    return _make_default if alias == DEFAULT_ALIAS and not is_historical(field.model) else None


def managed_by(key: Any) -> str | None:
    """Return who manages the key of a field, by the `key=` of its declaration; None is anybody."""
    return key.managed_by if isinstance(key, RowKey) else None
