"""Actions, keys, numbers and times as people read them.

In the trail, the log and grants, actions have KMS's names, the same in every language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from envelope_fields.lifecycle import seconds_until_known
from envelope_fields.models import AuditEvent, MasterKey, MasterKeyVersion, RotationRun

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_WORDS = {
    "encrypt": _("encrypt"),
    "decrypt": _("decrypt"),
    "generate_data_key": _("generate data keys"),
    "re_encrypt": _("re-encrypt"),
    "describe": _("describe"),
    "rotate": _("rotate"),
    "enable": _("enable"),
    "disable": _("disable"),
    "schedule_deletion": _("schedule deletion"),
    "cancel_deletion": _("cancel deletion"),
    "manage_grants": _("manage grants"),
    "view_audit": _("view the audit trail"),
    # In the trail alone.
    "create_key": _("create key"),
    "update_key": _("update key"),
    "move_alias": _("move alias"),
    "confirm_deletion": _("confirm deletion"),
    "destroy": _("destroy"),
    "shred": _("shred"),
    "create_grant": _("create grant"),
    "revoke_grant": _("revoke grant"),
    "rewrap_master_key": _("rewrap master key"),
    "rewrap_audit_key": _("rewrap audit key"),
    "lower_key_cache_bound": _("lower the bound of key caches"),
    "start_rotation": _("start rotation"),
    "pause_rotation": _("pause rotation"),
    "resume_rotation": _("resume rotation"),
    "limit_rotation": _("limit rotation"),
    "cancel_rotation": _("cancel rotation"),
    "complete_rotation": _("complete rotation"),
    "fail_rotation": _("fail rotation"),
}


def in_words(action: str) -> str:
    """Return an action as people read it; one that is not known here has its own name."""
    return str(_WORDS.get(action, action.replace("_", " ")))


def all_in_words(actions: Iterable[str]) -> str:
    """Return actions as people read them, in a row."""
    return ", ".join(map(in_words, actions))


def name_of(row: MasterKey | MasterKeyVersion) -> str:
    """Name a key, or one of its versions."""
    if isinstance(row, MasterKey):
        return str(row)
    return gettext("%(key)s, version %(number)d") % {"key": row.master_key, "number": row.number}


def actor_text(row: AuditEvent | RotationRun) -> str:
    """Return the name of the actor, or what they are where they have none."""
    return row.actor_name or f"{row.actor_type} {row.actor_id}".strip()


def number_text(number: int) -> str:
    return number_format(number, force_grouping=True)


def values_text(values: int | None) -> str:
    """Write a number of values, with its noun."""
    if values is None:
        return gettext("The stored values (they could not be counted)")
    text = ngettext("%(values)s stored value", "%(values)s stored values", values)
    return text % {"values": number_text(values)}


def when_it_holds() -> str:
    """Say from when on an operation holds (law 9)."""
    return gettext(
        "This holds at once in the process that does it, and in others within %(seconds)s seconds."
    ) % {"seconds": number_format(seconds_until_known())}


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
