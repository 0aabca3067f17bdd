"""The census for pages, its chart, and numbers in words: exact while counting is quick, else with
its age.

Counting reads a whole column. For a few hundred thousand values that is nothing; for ten million it
takes seconds, which a list that is opened all day must not cost each time. So a count that took
long is kept for a while, in Django's cache, and a page says when it was made.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import groupby
from typing import Any
from uuid import UUID

from django.core.cache import cache
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _, ngettext

from envelope_fields.census import CensusFailed, CensusRow, census
from envelope_fields.lifecycle.witnesses import is_under
from envelope_fields.models import MasterKey, MasterKeyVersion

QUICK_SECONDS = 1  # a count that took less is never kept
KEPT_FOR = 20  # times what it took: at most a twentieth of the database's time goes into counting
_HOPELESS_SECONDS = 10  # a count that began so long ago and has not ended is waited for by no page
_KEPT, _BEGAN = "envelope_fields.count.2", "envelope_fields.count.began"
_A_DAY = 86_400
MOST_BARS = 60  # the table has the rest
_HEADING, _LINE, _LONGEST = 28, 20, 420  # of the chart, in pixels


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
                oldest = min(number, usage.oldest or number)
                usages[row.version.key_id] = Usage(
                    usage.values + row.values,
                    usage.oldest if row.is_index else oldest,  # no rotation moves an index
                )
        return usages

    def under(self, row: MasterKey | MasterKeyVersion) -> list[CensusRow]:
        """Pick what is stored under a key or version."""
        return [counted for counted in self.rows if is_under(counted, row)]


def total_under(count: Count, row: MasterKey | MasterKeyVersion) -> int | None:
    """Return how many values are under a key or version; None where that is not known."""
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


def kept(name: str, counted: Callable[[], Any]) -> tuple[Any, datetime | None]:
    """Return what was counted, anew where that is quick, and when, where it was kept.

    Args:
        name: of what is counted; another one once what is kept would be wrong.
        counted: counts.
    """
    key = f"envelope_fields.count.{sha256(name.encode()).hexdigest()}"
    found: tuple[Any, datetime] | None = cache.get(key)
    if found is not None:
        return found
    clock = time.perf_counter()
    content, seconds = counted(), time.perf_counter() - clock
    if seconds < QUICK_SECONDS:
        return content, None
    cache.set(key, (content, timezone.now()), KEPT_FOR * seconds)
    return content, timezone.now()


def chart(rows: Sequence[CensusRow]) -> SafeString:
    """Draw a bar for each field and version, as SVG; with nothing to draw, return nothing.

    No script draws it, and nothing is fetched. Colours come from the style sheet, which takes them
    from the admin's variables: they are right in light and dark mode.
    """
    if not rows:
        return SafeString("")
    rows = rows[:MOST_BARS]
    most = max(row.values for row in rows)
    groups, top = [], 0
    for path, found in groupby(rows, key=field_path):
        heading, bars = top, []
        top += _HEADING
        for row in found:
            length = max(1, _LONGEST * row.values // most)
            bars.append((top, length, row.version, number_text(row.values)))
            top += _LINE
        groups.append((heading, path, bars))
    context = {"groups": groups, "height": top + 4}
    return render_to_string("admin/envelope_fields/masterkey/chart.html", context)


def field_path(row: CensusRow) -> str:
    """Name the field, its schema where there are several, and its database if not the default."""
    names = [row.database] if row.database != "default" else []
    names += [row.schema] if row.schema else []
    path = f"{row.model}.{row.field}"
    return f"{path} ({', '.join(names)})" if names else path


# -- In words --------------------------------------------------------------------------------------


def number_text(number: float) -> str:
    return number_format(number, force_grouping=True)


def values_text(values: int | None) -> str:
    """Write a number of values, with its noun."""
    if values is None:
        return _("The stored values (they could not be counted)")
    text = ngettext("%(values)s stored value", "%(values)s stored values", values)
    return text % {"values": number_text(values)}


# In seconds, with the words for a number of them.
_UNITS: tuple[tuple[int, Callable[[int], str]], ...] = (
    (86_400, lambda number: ngettext("%(number)s day", "%(number)s days", number)),
    (3_600, lambda number: ngettext("%(number)s hour", "%(number)s hours", number)),
    (60, lambda number: ngettext("%(number)s minute", "%(number)s minutes", number)),
    (1, lambda number: ngettext("%(number)s second", "%(number)s seconds", number)),
)


def duration_text(seconds: float) -> str:
    """Return a time in the largest unit of which there are two at least."""
    unit, words = next((each for each in _UNITS if seconds >= 2 * each[0]), _UNITS[-1])
    number = round(max(seconds, 1) / unit)
    return words(number) % {"number": number_text(number)}
