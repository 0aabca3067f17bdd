"""How long something takes, as people say it."""

from __future__ import annotations

from collections.abc import Callable

from django.utils.formats import number_format
from django.utils.translation import ngettext

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def duration_text(seconds: float) -> str:
    """Return a time in the largest unit of which there are two at least."""
    if seconds < 2 * _MINUTE:
        return _text(max(seconds, 1), 1, _seconds)
    if seconds < 2 * _HOUR:
        return _text(seconds, _MINUTE, _minutes)
    if seconds < 2 * _DAY:
        return _text(seconds, _HOUR, _hours)
    return _text(seconds, _DAY, _days)


def _text(seconds: float, unit: int, words: Callable[[int], str]) -> str:
    number = round(seconds / unit)
    return words(number) % {"number": number_format(number, force_grouping=True)}


def _seconds(number: int) -> str:
    return ngettext("%(number)s second", "%(number)s seconds", number)


def _minutes(number: int) -> str:
    return ngettext("%(number)s minute", "%(number)s minutes", number)


def _hours(number: int) -> str:
    return ngettext("%(number)s hour", "%(number)s hours", number)


def _days(number: int) -> str:
    return ngettext("%(number)s day", "%(number)s days", number)
