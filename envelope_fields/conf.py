"""The settings of this package, `ENVELOPE_FIELDS`: the only place that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string

from envelope_fields.root_keys.base import RootKey

SETTING = "ENVELOPE_FIELDS"
ROOT_KEY_ENTRIES = ("BACKEND", "OPTIONS")


@dataclass(frozen=True)
class Configuration:
    """`ENVELOPE_FIELDS`, checked, with a default for what it leaves out."""

    # Options may hold a key, so they stay out of repr.
    root_keys: Mapping[str, RootKey] = field(default_factory=dict, repr=False)
    database: str = DEFAULT_DB_ALIAS
    key_cache_seconds: float = 60

    @property
    def wrapping_root_key(self) -> str:
        """The name of the root key that wraps new master key versions: the first."""
        for name in self.root_keys:
            return name
        raise ImproperlyConfigured(
            f'{SETTING}["ROOT_KEYS"] names no root key, and master keys are stored only wrapped by '
            "one. Add one, and run `python manage.py generate_root_key` to make its value."
        )

    def root_key(self, name: str) -> RootKey:
        """Return the root key `name`.

        Raises:
            ImproperlyConfigured: the settings have none of that name.
        """
        try:
            return self.root_keys[name]
        except KeyError:
            raise ImproperlyConfigured(
                f'{SETTING}["ROOT_KEYS"] has no root key {name!r}, by which stored master keys are '
                f"wrapped. {_valid(self.root_keys)} Keep a root key until nothing is wrapped by it."
            ) from None


@cache
def configuration() -> Configuration:
    """Return the settings in force.

    Raises:
        ImproperlyConfigured: an unknown entry, or a value that cannot be meant.
    """
    given = getattr(settings, SETTING, {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{SETTING} must be a dictionary.")
    _refuse_unknown(given, SETTING, _READERS)
    values = {}
    for name, (attribute, read) in _READERS.items():
        if name in given:
            values[attribute] = read(given[name])
    return Configuration(**values)


def _root_keys(given: Any) -> dict[str, RootKey]:
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f'{SETTING}["ROOT_KEYS"] must be a dictionary.')
    return {name: _root_key(name, entry) for name, entry in given.items()}


def _root_key(name: str, entry: Any) -> RootKey:
    where = f'{SETTING}["ROOT_KEYS"][{name!r}]'
    if not isinstance(entry, Mapping) or "BACKEND" not in entry:
        raise ImproperlyConfigured(f'{where} must be a dictionary with a "BACKEND".')
    _refuse_unknown(entry, where, ROOT_KEY_ENTRIES)
    backend = _backend(entry["BACKEND"], f'{where}["BACKEND"]')
    options = entry.get("OPTIONS", {})
    where = f'{where}["OPTIONS"]'
    if not isinstance(options, Mapping):
        raise ImproperlyConfigured(f"{where} must be a dictionary.")
    _refuse_unknown(options, where, signature(backend).parameters)
    try:
        return backend(**options)
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{where}: {error}") from None


def _backend(path: Any, where: str) -> type[RootKey]:
    try:
        backend = import_string(path)
    except (ImportError, AttributeError) as error:
        raise ImproperlyConfigured(f"{where} cannot be imported: {error}") from error
    if not (isinstance(backend, type) and issubclass(backend, RootKey)):
        raise ImproperlyConfigured(f"{where} is {path!r}, which is not a subclass of RootKey.")
    return backend


def _database(given: Any) -> str:
    if given not in settings.DATABASES:
        raise ImproperlyConfigured(
            f'{SETTING}["DATABASE"] is {given!r}, which is not in DATABASES. '
            f"{_valid(settings.DATABASES)}"
        )
    return str(given)


def _key_cache_seconds(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 86_400:
        raise ImproperlyConfigured(
            f'{SETTING}["KEY_CACHE_SECONDS"] must be a number of seconds from 0 to below 86400.'
        )
    return given


_READERS = {
    "ROOT_KEYS": ("root_keys", _root_keys),
    "DATABASE": ("database", _database),
    "KEY_CACHE_SECONDS": ("key_cache_seconds", _key_cache_seconds),
}


def _refuse_unknown(given: Mapping[str, Any], where: str, valid: Any) -> None:
    unknown = [str(name) for name in given if name not in valid]
    if unknown:
        raise ImproperlyConfigured(f"{where} has no entry {unknown[0]!r}. {_valid(valid)}")


def _valid(names: Any) -> str:
    return f"Valid: {', '.join(map(str, names)) or 'none'}."


def _forget(*, setting: str, **_: Any) -> None:
    if setting in (SETTING, "DATABASES"):
        configuration.cache_clear()


setting_changed.connect(_forget, dispatch_uid="envelope_fields.conf")
