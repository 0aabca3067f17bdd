"""What the settings say of root keys: backends, for how long what they open is used, and which of
them wrap the same.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from envelope_fields.conf.backends import BackendSettings, backend_settings, valid

LIFETIME_ENTRIES = ("MATERIAL_MAX_AGE_SECONDS", "GRACE_SECONDS")
FURTHER_ENTRY = "ALSO_WRAPPED_BY"
_SETTING = 'ENVELOPE_FIELDS["ROOT_KEYS"]'
ROOT_KEY_NAME_LENGTH = 100  # of the column that names it
_LONGEST_SECONDS = 31_536_000


@dataclass(frozen=True)
class Lifetime:
    """For how long material that a root key opened is used, in seconds.

    Attributes:
        max_age: after this the root key is asked anew.
        grace: for how much longer, where it does not answer.
    """

    max_age: float = 3600
    grace: float = 86_400


def root_key_settings(given: Any) -> dict[str, BackendSettings]:
    """Return the backends of root keys, by their names.

    Raises:
        ImproperlyConfigured: the setting is something else.
    """
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{_SETTING} must be a dictionary.")
    for name in given:
        if not isinstance(name, str) or not 0 < len(name) <= ROOT_KEY_NAME_LENGTH:
            raise ImproperlyConfigured(
                f"{_SETTING} has the name {name!r}; names are text of at most "
                f"{ROOT_KEY_NAME_LENGTH} characters."
            )
    return {
        name: backend_settings(entry, where(name), (*LIFETIME_ENTRIES, FURTHER_ENTRY))
        for name, entry in given.items()
    }


def where(root_key: str) -> str:
    """Return the place of a root key in the settings, for messages."""
    return f"{_SETTING}[{root_key!r}]"


def further_of(name: str, entries: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the root keys that also wrap what the root key `name` wraps.

    Raises:
        ImproperlyConfigured: its entry names something else.
    """
    further, place = entries[name].get(FURTHER_ENTRY, ()), f'{where(name)}["{FURTHER_ENTRY}"]'
    if not isinstance(further, list | tuple):
        raise ImproperlyConfigured(f"{place} must be a list of names of root keys.")
    others = [each for each in entries if each != name]
    for each in further:
        if each not in others or further.count(each) > 1:
            raise ImproperlyConfigured(
                f"{place} has {each!r}; it names other root keys, each once. {valid(others)}"
            )
    return tuple(further)


def lifetime_of(given: Mapping[str, Any], place: str, default: Lifetime) -> Lifetime:
    """Return what a dictionary in the settings says of it, and the default for what it leaves out.

    Raises:
        ImproperlyConfigured: it says something else than seconds.
    """
    seconds = [
        _seconds(given.get(name, otherwise), f'{place}["{name}"]')
        for name, otherwise in zip(LIFETIME_ENTRIES, astuple(default), strict=True)
    ]
    return Lifetime(*seconds)


def _seconds(given: Any, place: str) -> float:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not is_number or not 0 <= given <= _LONGEST_SECONDS:
        raise ImproperlyConfigured(
            f"{place} must be a number of seconds from 0 to {_LONGEST_SECONDS} (a year)."
        )
    return float(given)
