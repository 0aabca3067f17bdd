"""Whether values are stored under a key: the census decides what may be destroyed (law 7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from envelope_fields.census import CensusRow, census
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.lifecycle.representation import named
from envelope_fields.models import MasterKey, MasterKeyVersion


class KeyInUse(EnvelopeError):
    """Values are stored under a key or version that is to be deleted.

    Attributes:
        rows: the rows of the census that say where, and how many.
    """

    def __init__(self, row: MasterKey | MasterKeyVersion, rows: Sequence[CensusRow]) -> None:
        self.rows = tuple(rows)
        super().__init__(
            f"{named(row)[0].upper()}{named(row)[1:]} is not deleted: values are stored under it: "
            f"{places(rows)}. {_way_out(row)}"
        )


def places(rows: Iterable[CensusRow]) -> str:
    """Say in one line where values are, and how many."""
    counts: Counter[str] = Counter()
    history: Counter[str] = Counter()
    for row in rows:
        counts[row.place] += row.values
        history[row.place] += row.history
    return ", ".join(
        f"{place} ({values:,}{_in_history(history[place])})" for place, values in counts.items()
    )


def _in_history(values: int) -> str:
    """Say that no rotation moves some of the values, and what does away with them."""
    return f", {values:,} in the past alone, for DELETE HISTORY to remove" if values else ""


def refuse_if_occupied(row: MasterKey | MasterKeyVersion, rows: Iterable[CensusRow]) -> None:
    """Raise if one of the rows of a census counts values under a key or version.

    Raises:
        KeyInUse: with these rows.
    """
    found = [each for each in rows if is_under(each, row)]
    if found:
        raise KeyInUse(row, found)


def values_under(row: MasterKey | MasterKeyVersion) -> list[CensusRow]:
    """Count what is stored under a key or version, in every primary database.

    Raises:
        CensusFailed: a column or a database could not be counted.
    """
    return census(row)


def is_under(counted: CensusRow, row: MasterKey | MasterKeyVersion) -> bool:
    """Whether a row of a census counts values of this key or version."""
    if isinstance(row, MasterKeyVersion):
        return counted.version_id == bytes(row.version_id)
    return counted.version is not None and counted.version.key_id == row.pk


def _way_out(row: MasterKey | MasterKeyVersion) -> str:
    move = (
        "Write them again, so that they move to the current version"
        if isinstance(row, MasterKeyVersion)
        else "Move them to another key, or delete them"
    )
    return f"{move}; to destroy them together with the key, use envelope_fields.lifecycle.shred()."
