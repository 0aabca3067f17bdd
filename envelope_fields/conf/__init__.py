"""The settings of this package, `ENVELOPE_FIELDS`: nothing else reads them."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string

from envelope_fields.conf.backends import (
    LIFETIME_ENTRIES,
    BackendSettings,
    Lifetime,
    Lifetimes,
    RootKeys,
    WrappedBy,
    backend_settings,
    lifetime_of,
    refuse_unknown,
    root_key_settings,
    valid,
    where,
    wrapped_by,
)

SETTING = "ENVELOPE_FIELDS"
API_ENTRIES = ("DATA_OPERATIONS",)
WRAPPING_KEY_ID_LENGTH = 500  # of the column of what a root key says that it wrapped with


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True


@dataclass(frozen=True)
class Schemas:
    """In which schemas of a database encrypted columns are counted and moved."""

    # Their names; or the dotted path of a function that names those of a database, which may need
    # models, and these are loaded after the settings. None is all schemas.
    given: frozenset[str] | str | None = None

    def of(self, database: str) -> Container[str]:
        """Return the schemas of a database, by its alias.

        Raises:
            ImproperlyConfigured: that cannot be found out.
        """
        if isinstance(self.given, str):
            return _schema_names(self._function(self.given)(database))
        return _Everything() if self.given is None else self.given

    def check(self) -> None:
        """Raise what `of` would raise of the setting itself."""
        if isinstance(self.given, str):
            self._function(self.given)

    def _function(self, path: str) -> Callable[[str], Any]:
        where = f'{SETTING}["SCHEMAS"] is {path!r}'
        try:
            found = import_string(path)
        except ImportError as error:
            raise ImproperlyConfigured(f"{where}, which cannot be imported: {error}.") from error
        if not callable(found):
            raise ImproperlyConfigured(f"{where}, which is not a function.")
        return cast("Callable[[str], Any]", found)


class ApiSettings(NamedTuple):
    """What the HTTP API offers."""

    data_operations: bool = False


@dataclass(frozen=True)
class Configuration:
    """`ENVELOPE_FIELDS`, checked, with a default for what it leaves out."""

    root_keys: RootKeys = field(default_factory=RootKeys)
    wrapped_by: WrappedBy = field(default_factory=WrappedBy)
    lifetimes: Lifetimes = field(default_factory=lambda: Lifetimes({}, Lifetime()))
    database: str = DEFAULT_DB_ALIAS
    key_cache_seconds: float = 60
    require_principal: bool = False
    superusers_bypass_policy: bool = False
    api: ApiSettings = field(default_factory=ApiSettings)
    rotation_worker: BackendSettings | None = None
    schemas: Schemas = field(default_factory=Schemas)

    @property
    def wrapping_root_key(self) -> str:
        """The name of the root key that wraps new master key versions: the first."""
        return self.wrapped_by[None][0]


@cache
def configuration() -> Configuration:
    """Return the settings in force.

    Raises:
        ImproperlyConfigured: an unknown entry, or a value that cannot be meant.
    """
    try:
        return _read()
    except ImproperlyConfigured as error:
        problem = str(error)
    # Raised from here, since an error report shows the variables of the frames that an error
    # passed: options may hold a key.
    raise ImproperlyConfigured(problem)


def keys_database() -> str:
    """Return the database of the keys, also where the settings are wrong.

    For what is imported or set up before the checks run, which say what is wrong with them.
    """
    try:
        return configuration().database
    except ImproperlyConfigured:
        return DEFAULT_DB_ALIAS


def _read() -> Configuration:
    given = getattr(settings, SETTING, {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{SETTING} must be a dictionary.")
    refuse_unknown(given, SETTING, (*_READERS, *LIFETIME_ENTRIES))
    read = {name.lower(): reader(given[name]) for name, reader in _READERS.items() if name in given}
    for_all, entries = lifetime_of(given, SETTING, Lifetime()), given.get("ROOT_KEYS", {})
    return Configuration(
        **read,
        wrapped_by=wrapped_by(entries),
        lifetimes=Lifetimes(
            {name: lifetime_of(entry, where(name), for_all) for name, entry in entries.items()},
            for_all,
        ),
    )


def _rotation_worker(given: Any) -> BackendSettings | None:
    return None if given is None else backend_settings(given, f'{SETTING}["ROTATION_WORKER"]')


def _database(given: Any) -> str:
    if not isinstance(given, str) or given not in settings.DATABASES:
        raise ImproperlyConfigured(
            f'{SETTING}["DATABASE"] is {given!r}, which is not in DATABASES. '
            f"{valid(settings.DATABASES)}"
        )
    return str(given)


def _key_cache_seconds(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 86_400:
        raise ImproperlyConfigured(
            f'{SETTING}["KEY_CACHE_SECONDS"] must be a number of seconds from 0 to below 86400.'
        )
    return given


def _schemas(given: Any) -> Schemas:
    return Schemas(given if given is None or isinstance(given, str) else _schema_names(given))


def _schema_names(given: Any) -> frozenset[str]:
    """Return names of schemas, if that is what they are."""
    # In a text, each part of a name would be found.
    if isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping):
        names = list(given)
        if all(isinstance(name, str) and name for name in names):
            return frozenset(names)
    raise ImproperlyConfigured(
        f'{SETTING}["SCHEMAS"] must be a list of names of schemas, or the dotted path of a '
        "function that is given the alias of a database and returns such a list."
    )


def _api(given: Any) -> ApiSettings:
    where = f'{SETTING}["API"]'
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{where} must be a dictionary.")
    refuse_unknown(given, where, API_ENTRIES)
    read = _flag('API"]["DATA_OPERATIONS')
    return ApiSettings(data_operations=read(given.get("DATA_OPERATIONS", False)))


def _flag(name: str) -> Callable[[Any], bool]:
    def read(given: Any) -> bool:
        if isinstance(given, bool):
            return given
        # "False" from an environment variable would be true.
        raise ImproperlyConfigured(f'{SETTING}["{name}"] must be True or False.')

    return read


# What reads each entry; attributes of `Configuration` have the same names, in lower case.
_READERS: dict[str, Callable[[Any], Any]] = {
    "ROOT_KEYS": root_key_settings,
    "DATABASE": _database,
    "KEY_CACHE_SECONDS": _key_cache_seconds,
    "REQUIRE_PRINCIPAL": _flag("REQUIRE_PRINCIPAL"),
    "ROTATION_WORKER": _rotation_worker,
    "SUPERUSERS_BYPASS_POLICY": _flag("SUPERUSERS_BYPASS_POLICY"),
    "API": _api,
    "SCHEMAS": _schemas,
}


def _forget(*, setting: str, **_: Any) -> None:
    if setting in (SETTING, "DATABASES"):
        configuration.cache_clear()


setting_changed.connect(_forget, dispatch_uid="envelope_fields.conf")
