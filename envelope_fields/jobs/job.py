"""A job: what it is given of each value, and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple
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

if TYPE_CHECKING:
    from envelope_fields.jobs.statements import Statements

VERSION_ID = slice(1, layout.HEADER_BYTES)  # of the head of an envelope

Key = tuple[Any, ...]  # a row's primary key as the driver gives it, one item a column


class Stored(NamedTuple):
    """A stored value without its payload."""

    key: Key
    head: bytes  # the 81 bytes in front of the payload
    size: int  # of the whole value, in bytes
    beside: tuple[Any, ...] | None = None  # what else was read of the row, where a job asks for it

    @property
    def version_id(self) -> bytes:
        """The key version that the value is under."""
        return self.head[VERSION_ID]


class Wanted(NamedTuple):
    """Which values are looked at next: the arguments of `Statements.heads`."""

    version_ids: Sequence[bytes] | None
    after: Key | None
    until: Key | None
    rows: int


class Change(NamedTuple):
    """What is to be written to a row whose value still begins with `head`."""

    key: Key
    head: Any  # bytes; or the whole value as the driver gave it; or what others begin with
    new: Any  # the new head; or, where payloads are replaced, the new value


@dataclass(frozen=True, slots=True)
class Failed:
    """A value that could not be processed; nothing of the value itself."""

    stored: Stored
    cause: str  # the class of the error
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


_PUT_BACK = (
    "ValuePutBack",
    "It was written, and the database put back what was there: a trigger of its table does so.",
)


class Job(ABC):
    """What is done with the values of one column.

    Attributes:
        writes: whether it changes values.
        replaces_payload: whether a change has the whole new value, and not its head alone.
        reads_payloads: whether whole values are in memory, so that few are taken at once.
        locks_rows: whether changes depend on other columns, so that rows are locked before they
            are looked at once more.
        compares_values: whether the head of a change is a whole value.
        replaces_heads: whether a value that was written begins otherwise than before.
    """

    writes = True
    locks_rows = False
    compares_values = False
    replaces_heads = False
    replaces_payload = False
    reads_payloads = False

    @abstractmethod
    def process(self, stored: Sequence[Stored]) -> Outcome:
        """Return what becomes of some values.

        Raises:
            EnvelopeError, ImproperlyConfigured: no value can be processed.
        """

    def lock(self, ask: Statements, keys: Sequence[Key]) -> Collection[Key]:
        """Lock the rows of changes that no other transaction has locked; return their keys.

        It is called in the transaction that writes them, where `locks_rows`; or where an attempt
        to write them has failed.
        """
        return ask.lock_what_is_free(keys)

    def unmoved(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Return those of some changes whose rows are what they were when these were made.

        It is called in the transaction that writes them, with their rows locked where `locks_rows`.
        """
        return changes

    def stored(self, ask: Statements, wanted: Wanted) -> list[Stored]:
        """Return what is looked at in the next rows."""
        return ask.heads(*wanted)

    def write(self, ask: Statements, changes: Sequence[Change]) -> int:
        """Write changes to the rows that are still as they were read; return how many were."""
        if self.compares_values:
            return ask.swap_values(changes)
        return ask.swap(changes, replaces_payload=self.replaces_payload)

    def look_back(self, ask: Statements, changes: Sequence[Change]) -> tuple[int, Sequence[Failed]]:
        """Return how many rows have what was written, and report those that are as before.

        A trigger puts that back, or drops what is written: the number of rows that an UPDATE gives
        counts the first, and not the second. It is called in the transaction that has written them.
        """
        stored, whole = ask.codec.stored_head, self.replaces_payload
        written = [(key, new if whole else stored(new)) for key, _, new in changes]
        moved = sum(ask.begin_with(written))
        if moved == len(changes):
            return moved, ()
        is_back = ask.begin_with([(key, stored(head)) for key, head, _ in changes])
        back = [change for change, is_it in zip(changes, is_back, strict=True) if is_it]
        return moved, [Failed(Stored(key, head, 0), *_PUT_BACK) for key, head, _ in back]

    def refused(self, change: Change, error: Exception) -> Failed:
        """Report a row that the database does not let change, without what it holds."""
        return Failed(
            Stored(change.key, b"", 0),
            type(error).__name__,
            "The database refused the new value: a constraint or a trigger of its table does.",
        )

    def may_still_write(self, since: float) -> bool:
        """Whether the keys of the last outcome are such that its changes may be committed now.

        Args:
            since: when the transaction began, on the clock of `keyring.age.uptime`.
        """
        return True


class Scope(ABC):
    """What a run is about: columns, the values in them, and the job that is done with these.

    It is found out once for each pass, and once more at its end.
    """

    most_passes = inf  # over its columns, while others write
    why_some_stay = (  # after how many values these are
        "stayed where they are in two passes: others held locks on their rows all the time, "
        "their key changed while they were written, or a trigger or a rule of the table drops "
        "what is written. Run it again; if they stay again, look for a trigger."
    )

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

    def completed(self, run: RotationRun) -> None:  # noqa: B027 - most do nothing
        """Do what follows from a run that is completed now."""


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


def displayed_key(key: Key) -> str:
    """Return a key for people to read: of one column its value, of several a list of them."""
    # PostgreSQL stores no text with a zero in it.
    texts = [
        item.hex() if isinstance(item, bytes) else str(item).replace("\0", "\\0") for item in key
    ]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"
