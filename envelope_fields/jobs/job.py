"""A job: what it is given of each value, what it answers, and what a run has it do."""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from envelope_fields.census.columns import Column
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import (
    EnvelopeError,
    KeyAccessDenied,
    RootKeyRefused,
    RootKeyUnavailable,
)
from envelope_fields.models import RotationRun

Key = tuple[Any, ...]  # a row's primary key as the driver gives it, one item a column


class Stored(NamedTuple):
    """A stored value without its payload."""

    key: Key
    head: bytes  # the 81 bytes in front of the payload
    size: int  # of the whole value, in bytes

    @property
    def version_id(self) -> bytes:
        """The key version that the value is under."""
        return self.head[1 : layout.HEADER_BYTES]


class Change(NamedTuple):
    """What is to be written to a row whose value still begins with `head`."""

    key: Key
    head: bytes
    new: bytes  # the new head; or, where payloads are replaced, the new value


@dataclass(frozen=True, slots=True)
class Failed:
    """A value that could not be processed; nothing of the value itself.

    Attributes:
        stored: where it is, and what is in front of its payload.
        cause: the class of the error.
        message: the error.
    """

    stored: Stored
    cause: str
    message: str


@dataclass(slots=True)
class Outcome:
    """What is to be written, what failed, and how many values are where they belong already."""

    changes: list[Change] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    kept: int = 0

    def fail(self, stored: Stored, error: Exception) -> None:
        """Report a value and go on with the next."""
        message = str(error) if isinstance(error, EnvelopeError) else ""
        self.failed.append(Failed(stored, type(error).__name__, message))


@dataclass(slots=True)
class BatchResult:
    """What became of the values of a batch.

    Attributes:
        moved: they are under another version now.
        skipped: others wrote, deleted or locked them meanwhile; the next pass looks again.
        kept: they are where they belong already.
        failed: they could not be opened.
    """

    moved: int = 0
    skipped: int = 0
    kept: int = 0
    failed: list[Failed] = field(default_factory=list)

    @property
    def values(self) -> int:
        return self.moved + self.skipped + self.kept + len(self.failed)


class Job(ABC):
    """What is done with the values of one column.

    Attributes:
        writes: whether it changes values.
        replaces_payload: whether a change has the whole new value, or only what is in front of the
            payload.
        reads_payloads: whether whole values are in memory, so that few are taken at once.
    """

    writes = True
    replaces_payload = False
    reads_payloads = False

    @abstractmethod
    def process(self, stored: Sequence[Stored]) -> Outcome:
        """Return what becomes of some values.

        Raises:
            EnvelopeError, ImproperlyConfigured: no value can be processed.
        """

    def may_still_write(self, since: float) -> bool:
        """Whether the keys of the last outcome are such that its changes may be committed now.

        Args:
            since: when the transaction began, on the clock of `monotonic`.
        """
        return True


class Scope(ABC):
    """What a run is about: columns, the values in them, and the job that is done with these.

    It is found out once for each pass, and once more at its end.
    """

    @abstractmethod
    def columns(self) -> Sequence[Column]:
        """Return the columns that the run goes over, located (`census.columns.tables_of`).

        Raises:
            EnvelopeError: one that is named is not there, or a database cannot be looked at.
        """

    @abstractmethod
    def version_ids(self, column: Column) -> Sequence[bytes] | None:
        """Return the key versions whose values are to be looked at; None is every value."""

    @abstractmethod
    def count(self, column: Column) -> Counter[UUID | None]:
        """Count the values that are to be looked at, by their master key."""

    @abstractmethod
    def count_remaining(self, column: Column) -> Counter[UUID | None]:
        """Count the values that are still under versions which none is to be under in the end."""

    @abstractmethod
    def sees_only_by_looking(self, column: Column) -> bool:
        """Whether some values have to change which no count tells of."""

    @abstractmethod
    def job(self, column: Column) -> Job:
        """Return the job for a column."""


_scopes: dict[str, Callable[[RotationRun], Scope]] = {}


def register(kind: str, scope: Callable[[RotationRun], Scope]) -> None:
    """Have runs of a kind be about what a function returns for them."""
    _scopes[kind] = scope


def scope_of(run: RotationRun) -> Scope:
    """Return what a run is about, by the key versions that there are now.

    Raises:
        MasterKeyNotFound: one of its keys is not there any more.
    """
    return _scopes[run.kind](run)


# What is wrong with a key is wrong with every value under it.
_OF_KEYS = (KeyAccessDenied, RootKeyRefused, ImproperlyConfigured)


def stops(error: Exception, *, about_one_key: bool = True) -> bool:
    """Whether an error is about more than the value that met it, so that the run ends, and says so.

    Of a run about several keys, the values under the others go on.
    """
    if isinstance(error, RootKeyUnavailable) or isinstance(error.__cause__, DatabaseError):
        return True
    return about_one_key and isinstance(error, _OF_KEYS)


# Primary keys as text: ranges begin and end with them, and failures name them.

_KINDS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "uuid": (UUID, str, UUID),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "decimal": (Decimal, str, Decimal),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),  # before date: it is one
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "days": (
        timedelta,
        lambda item: f"{item.days} {item.seconds} {item.microseconds}",
        lambda text: timedelta(*map(int, text.split())),
    ),
}


def key_as_text(key: Key | None) -> str:
    """Return a key as text from which `key_from_text` makes the same key; empty for None.

    Raises:
        TypeError: the driver has a type for it that is not known here.
    """
    return "" if key is None else json.dumps([_plain(item) for item in key])


def key_from_text(text: str) -> Key | None:
    """Return the key that `key_as_text` made the text of."""
    return tuple(map(_item, json.loads(text))) if text else None


def displayed_key(key: Key) -> str:
    """Return a key for people to read: of one column its value, of several a list of them."""
    # PostgreSQL stores no text with a zero in it.
    texts = [
        item.hex() if isinstance(item, bytes) else str(item).replace("\0", "\\0") for item in key
    ]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _plain(item: Any) -> Any:
    if item is None or isinstance(item, bool | int | float | str):
        return item
    if isinstance(item, memoryview):
        item = bytes(item)
    for name, (kind, write, _) in _KINDS.items():
        if isinstance(item, kind):
            return {name: write(item)}
    raise TypeError(f"a primary key of {type(item).__name__} cannot be written down")


def _item(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return plain
    ((name, text),) = plain.items()
    return _KINDS[name][2](text)
