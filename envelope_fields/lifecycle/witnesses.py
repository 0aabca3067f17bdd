"""Witnesses of what would be lost with a key: stored values, and the last use (law 7)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from envelope_fields import models
from envelope_fields.audit.uses import last_sign, to_the_second
from envelope_fields.census import CensusRow, NotCounted, not_counted
from envelope_fields.census.text_copies import TextCopies, text_copies
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.lifecycle.certificates import quoting
from envelope_fields.lifecycle.other_processes import wait_for_writers
from envelope_fields.lifecycle.representation import Row, as_utc, named


class KeyInUse(EnvelopeError):
    """Values are stored under a key or version that is to be deleted.

    Attributes:
        rows: the rows of the census that say where, and how many.
    """

    def __init__(self, row: Row, rows: Sequence[CensusRow]) -> None:
        self.rows = tuple(rows)
        super().__init__(
            f"{named(row)[0].upper()}{named(row)[1:]} is not deleted: values are stored under it: "
            f"{counts_text(rows)}. {_way_out(row)}"
        )


class KeyPinned(KeyInUse):
    """A blind index is pinned to a key or version that is to be deleted, though it has no rows.

    Attributes:
        indexes: the labels of the indexes.
    """

    def __init__(self, row: Row, indexes: Sequence[str]) -> None:
        self.rows, self.indexes = (), tuple(indexes)
        EnvelopeError.__init__(
            self,
            f"{named(row)[0].upper()}{named(row)[1:]} is not deleted: blind indexes are pinned to "
            f"it, and no value could be written without: {', '.join(indexes)}. Retire them first: "
            "`python manage.py rebuild_indexes LABEL --to retired`.",
        )


def _pinned_to(row: Row) -> list[str]:
    """Return the blind indexes that are pinned to a key or version, and are not retired."""
    using = row._state.db
    which = {"version": row} if isinstance(row, models.MasterKeyVersion) else {"master_key": row}
    names = models.BlindIndexKey.objects.using(using).filter(**which).values_list("name", flat=True)
    indexes = models.BlindIndex.objects.using(using).filter(name__in=list(names))
    return list(indexes.exclude(state=models.IndexState.RETIRED).values_list("label", flat=True))


def counts_text(rows: Iterable[CensusRow]) -> str:
    """Return in one line in which fields values are, and how many."""
    counts: Counter[str] = Counter()
    history: Counter[str] = Counter()
    for row in rows:
        counts[row.location] += row.values
        history[row.location] += row.history
    return ", ".join(
        f"{path} ({values:,}{_in_history(history[path])})" for path, values in counts.items()
    )


def _in_history(values: int) -> str:
    """Say that no rotation moves some of the values, and what does away with them."""
    return f", {values:,} in the past alone, for DELETE HISTORY to remove" if values else ""


def refuse_if_in_use(row: Row, rows: Iterable[CensusRow]) -> None:
    """Raise if values or blind indexes need a key or version.

    Raises:
        KeyInUse: with the rows of the census that count values under it.
        KeyPinned: with the indexes that are pinned to it.
    """
    if found := [each for each in rows if is_under(each, row)]:
        raise KeyInUse(row, found)
    if pinned := _pinned_to(row):
        raise KeyPinned(row, pinned)


def is_under(counted: CensusRow, row: Row) -> bool:
    """Whether a row of a census counts values of this key or version."""
    if isinstance(row, models.MasterKeyVersion):
        return counted.version_id == bytes(row.version_id)
    return counted.version is not None and counted.version.key_id == row.pk


def _way_out(row: Row) -> str:
    move = (
        "Move them to the current version with `python manage.py rewrap`, for which it has to be "
        "enabled"
        if isinstance(row, models.MasterKeyVersion)
        else "Move them to another key, or delete them"
    )
    return (
        f"{move}; to destroy them together with the key, shred it (`python manage.py "
        "shred_master_key`)."
    )


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What speaks for a key or version whose deletion is wanted, though no value is counted.

    Attributes:
        row: the key or version.
        last_use: when fields or `kms` last used it, or an attempt was refused; None if never.
        last_use_by_kms: the same of `kms` alone, whose ciphertexts no census sees.
        copies: where envelopes under it are stored as text.
        unseen: what was neither counted nor known to be empty.
    """

    row: Row
    last_use: datetime | None
    last_use_by_kms: datetime | None
    copies: tuple[TextCopies, ...]
    unseen: tuple[NotCounted, ...]

    @property
    def expected(self) -> str:
        """What confirms that all this is known."""
        return quoting(self.row, self.last_use)

    def reasons(self) -> Iterator[str]:
        """Yield, in sentences, why the deletion has to be confirmed."""
        if self.last_use_by_kms is not None:
            yield (
                f"envelope_fields.kms gave out data under {named(self.row)}, which the census "
                f"cannot see: last used by it on {as_utc(self.last_use_by_kms)}. Nothing of it can "
                "be decrypted while the deletion is pending, nor ever after."
            )
        if self.copies:
            yield (
                f"Copies of values under {named(self.row)} are stored as text, which nothing can "
                f"decrypt any more: {', '.join(map(str, self.copies))}."
            )
        if self.unseen:
            yield f"Not everything could be counted: {'; '.join(map(str, self.unseen))}."

    def with_latest_use(self) -> Self:
        """Return the same with the uses that are known by now."""
        return replace(
            self, last_use=last_sign(self.row), last_use_by_kms=last_sign(self.row, "kms")
        )

    def content(self) -> dict[str, Any]:
        """Return what the audit event holds of them, for `Confirmed` to read."""
        return {
            "last_use": self.last_use and as_utc(self.last_use),
            "last_use_by_kms": self.last_use_by_kms and as_utc(self.last_use_by_kms),
            "copies": [[*_column(each), each.rows] for each in self.copies],
            "not_counted": [list(_unseen(each)) for each in self.unseen],
        }


def witnesses_of(row: Row, unseen: tuple[NotCounted, ...]) -> Witnesses:
    """Return what is known of a key or version now.

    Raises:
        CensusFailed: something could not be looked at.
    """
    return Witnesses(
        row, last_sign(row), last_sign(row, "kms"), tuple(text_copies(_version_ids(row))), unseen
    )


def uncounted_now() -> tuple[NotCounted, ...]:
    """Return what cannot be counted now: columns, and transactions that do not end.

    It waits for writers that are under way; so call it before values are counted.

    Raises:
        CensusFailed: a database could not be looked at.
    """
    waited = wait_for_writers()
    writing = [
        NotCounted(
            each.database,
            f"the transaction of process {each.process}",
            "it is under way, and what it wrote shows when it is committed: try again then",
        )
        for each in waited.still_open
    ]
    return (*not_counted(), *waited.unseen, *writing)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What was known when a deletion was confirmed, as its audit event holds it."""

    at: datetime
    recorded: Mapping[str, Any]

    def later(self, now: Witnesses) -> list[str]:
        """Return, in sentences, what was not known then and is now."""
        try:
            return list(self._later(now))
        except (AttributeError, TypeError, ValueError):
            return [
                "The audit event of its deletion does not say what was known then: it was changed "
                "in the database, and `python manage.py verify_audit_trail` has more."
            ]

    def _later(self, now: Witnesses) -> Iterator[str]:
        if self._is_used_since(now):
            assert now.last_use is not None  # noqa: S101 - it was
            yield (
                f"It was used, or an attempt to use it was refused, last on "
                f"{as_utc(now.last_use)}, which was not known yet when its deletion was scheduled."
            )
        copies = [each for each in now.copies if each.rows > self._copies().get(_column(each), 0)]
        if copies:
            yield f"Values under it were copied as text since: {', '.join(map(str, copies))}."
        unseen = [each for each in now.unseen if _unseen(each) not in self._unseen()]
        if unseen:
            yield f"Not everything could be counted: {'; '.join(map(str, unseen))}."

    def _is_used_since(self, now: Witnesses) -> bool:
        if now.last_use is not None and now.last_use > self.at:
            return True
        by_kms = to_the_second(now.last_use_by_kms)
        known = self.recorded.get("last_use_by_kms") or ""
        return by_kms is not None and as_utc(by_kms) > known

    def _copies(self) -> dict[tuple[str, ...], int]:
        return {tuple(path): rows for *path, rows in self.recorded.get("copies", ())}

    def _unseen(self) -> set[tuple[str, ...]]:
        return {tuple(each) for each in self.recorded.get("not_counted", ())}


def _version_ids(row: Row) -> list[bytes]:
    if isinstance(row, models.MasterKey):
        ids = row.versions.using(row._state.db).values_list("version_id", flat=True)
        return [bytes(version_id) for version_id in ids]
    return [bytes(row.version_id)]


def _column(copies: TextCopies) -> tuple[str, ...]:
    schema = copies.schema or ""
    return copies.database, schema, copies.model, copies.field, copies.version_id.hex()


def _unseen(each: NotCounted) -> tuple[str, ...]:
    return each.database, each.location, each.reason
