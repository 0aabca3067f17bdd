"""The census for pages: exact while counting is quick, and honest about its age where it is not.

Counting reads a whole column. For a few hundred thousand values that is nothing; for ten million it
takes seconds, which a list that is opened all day must not cost each time. So a count that took
long is kept for a while, in Django's cache, and a page says when it was made.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.core.cache import cache
from django.utils import timezone
from django.utils.translation import gettext as _

from envelope_fields.census import CensusFailed, CensusRow, census
from envelope_fields.lifecycle.occupancy import is_under
from envelope_fields.models import MasterKey, MasterKeyVersion

QUICK_SECONDS = 1  # a count that took less is never kept
KEPT_FOR = 20  # times what it took: at most a twentieth of the database's time goes into counting
_HOPELESS_SECONDS = 10  # a count that began so long ago and has not ended is waited for by no page
_KEPT, _BEGAN = "envelope_fields.count.2", "envelope_fields.count.began"
_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Usage:
    """What a key protects: the number of values, and the oldest version that has any."""

    values: int = 0
    oldest: int | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """The census at a moment; `problem` says why there is none."""

    rows: tuple[CensusRow, ...] = ()
    at: datetime | None = None
    seconds: float = 0
    problem: str = ""

    @property
    def is_kept(self) -> bool:
        return self.seconds >= QUICK_SECONDS

    @property
    def is_fresh(self) -> bool:
        kept_for = timedelta(seconds=KEPT_FOR * self.seconds)
        return self.at is not None and timezone.now() < self.at + kept_for

    @property
    def unknown(self) -> int:
        """Values under key versions that the keys' database does not know."""
        return sum(row.values for row in self.rows if row.version_id and row.version is None)

    @property
    def not_encrypted(self) -> int:
        return sum(row.values for row in self.rows if row.version_id is None)

    def of_keys(self) -> dict[UUID, Usage] | None:
        """Sum up by master key; None where nothing could be counted, which is not zero."""
        if self.at is None:
            return None
        usages: dict[UUID, Usage] = {}
        for row in self.rows:
            if row.version is not None:
                usage = usages.get(row.version.key_id, Usage())
                number = row.version.number
                usages[row.version.key_id] = Usage(
                    usage.values + row.values, min(number, usage.oldest or number)
                )
        return usages

    def under(self, row: MasterKey | MasterKeyVersion) -> list[CensusRow]:
        """Pick what is stored under a key or version."""
        return [counted for counted in self.rows if is_under(counted, row)]


def total_under(count: Count, row: MasterKey | MasterKeyVersion) -> int | None:
    """Return how many values are under a key or version; None where nobody knows."""
    return None if count.at is None else total(count.under(row))


def total(rows: Iterable[CensusRow]) -> int:
    return sum(row.values for row in rows)


def for_a_page() -> Count:
    """Return a count that is as new as it can be without making a page slow."""
    kept: Count | None = cache.get(_KEPT)
    if kept is not None and kept.is_fresh:
        return kept
    began: float | None = cache.get(_BEGAN)
    if began is not None and time.time() - began > _HOPELESS_SECONDS:
        return kept or Count(problem=_("They are being counted just now, which takes a while."))
    return count()


def count() -> Count:
    """Count now, however long it takes."""
    began, clock = time.time(), time.perf_counter()
    cache.set(_BEGAN, began, 600)
    try:
        made = Count(tuple(census()), timezone.now(), time.perf_counter() - clock)
    except CensusFailed as error:
        made = Count(problem=str(error))
    if made.is_kept:
        cache.set(_KEPT, made, _A_DAY)
    else:
        cache.delete(_KEPT)
    cache.delete(_BEGAN)
    return made
