"""A key's values by field and version, drawn as SVG on the server: no script, nothing fetched.

Colours come from the style sheet, which takes them from the admin's variables, so that the chart is
right in light and dark mode. The table beside it says the same in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from envelope_fields.census import CensusRow

MOST_BARS = 60  # the table has the rest
_WIDTH, _LABELS, _LONGEST = 640, 96, 420
_HEADING, _LINE, _THICK = 28, 20, 12


def chart(rows: Sequence[CensusRow]) -> SafeString:
    """Draw a bar for each field and version; with nothing to draw, return nothing."""
    if not rows:
        return SafeString("")
    rows = rows[:MOST_BARS]
    most = max(row.values for row in rows)
    parts, top = [], 0
    for place, bars in groupby(rows, key=place_of):
        parts.append(_heading(place, top))
        top += _HEADING
        for row in bars:
            parts.append(_bar(row, top, max(1, _LONGEST * row.values // most)))
            top += _LINE
    return format_html(
        '<svg class="envelope-chart" role="img" viewBox="0 0 {width} {height}" '
        'width="{width}" height="{height}" aria-labelledby="envelope-chart-title">'
        '<title id="envelope-chart-title">{title}</title>{parts}</svg>',
        width=str(_WIDTH),  # as text, since a number would be written as the language does
        height=str(top + 4),
        title=_("Values by field and key version. The table has the same numbers."),
        parts=mark_safe("".join(parts)),  # noqa: S308 - each is from format_html
    )


def place_of(row: CensusRow) -> str:
    """Name the field, its schema where there are several, and its database if not the default."""
    names = [row.database] if row.database != "default" else []
    names += [row.schema] if row.schema else []
    place = f"{row.model}.{row.field}"
    return f"{place} ({', '.join(names)})" if names else place


def _heading(place: str, top: int) -> SafeString:
    return format_html('<text class="place" x="0" y="{}">{}</text>', str(top + 18), place)


def _bar(row: CensusRow, top: int, length: int) -> SafeString:
    version = row.version
    number = version.number if version else 0
    return format_html(
        '<text x="0" y="{base}">{label}</text>'
        '<rect class="{kind}" x="{labels}" y="{top}" width="{length}" height="{thick}" rx="2"/>'
        '<text x="{end}" y="{base}">{values}</text>',
        base=str(top + 11),
        label=_("version %(number)d") % {"number": number},
        kind="current" if version and version.is_current else "older",
        labels=str(_LABELS),
        top=str(top + 1),
        length=str(length),
        thick=str(_THICK),
        end=str(_LABELS + length + 8),
        values=number_format(row.values, force_grouping=True),
    )
