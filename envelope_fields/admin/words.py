"""Keys, actions, numbers and times as people read them."""

from collections.abc import Callable, Iterable
from math import ceil

from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from envelope_fields.lifecycle import seconds_until_known
from envelope_fields.lifecycle.representation import in_words
from envelope_fields.models import MasterKey, MasterKeyVersion

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def all_in_words(actions: Iterable[str]) -> str:
    """Return actions as people read them, in a row."""
    return ", ".join(map(in_words, actions))


def name_of(row: MasterKey | MasterKeyVersion) -> str:
    """Name a key, or one of its versions."""
    if isinstance(row, MasterKey):
        return str(row)
    return _("%(key)s, version %(number)d") % {"key": row.master_key, "number": row.number}


def number_text(number: int) -> str:
    return number_format(number, force_grouping=True)


def values_text(values: int | None) -> str:
    """Write a number of values, with its noun."""
    if values is None:
        return _("The stored values (they could not be counted)")
    text = ngettext("%(values)s stored value", "%(values)s stored values", values)
    return text % {"values": number_text(values)}


def when_it_holds() -> str:
    """Say from when on an operation holds (law 9)."""
    return _(
        "This holds at once in the process that does it, and in others within %(seconds)s seconds."
    ) % {"seconds": number_text(ceil(seconds_until_known()))}


def duration_text(seconds: float) -> str:
    """Return a time in the largest unit of which there are two at least."""
    if seconds < 2 * _MINUTE:
        return _duration(max(seconds, 1), 1, _seconds)
    if seconds < 2 * _HOUR:
        return _duration(seconds, _MINUTE, _minutes)
    if seconds < 2 * _DAY:
        return _duration(seconds, _HOUR, _hours)
    return _duration(seconds, _DAY, _days)


def _duration(seconds: float, unit: int, words: Callable[[int], str]) -> str:
    number = round(seconds / unit)
    return words(number) % {"number": number_text(number)}


def _seconds(number: int) -> str:
    return ngettext("%(number)s second", "%(number)s seconds", number)


def _minutes(number: int) -> str:
    return ngettext("%(number)s minute", "%(number)s minutes", number)


def _hours(number: int) -> str:
    return ngettext("%(number)s hour", "%(number)s hours", number)


def _days(number: int) -> str:
    return ngettext("%(number)s day", "%(number)s days", number)
