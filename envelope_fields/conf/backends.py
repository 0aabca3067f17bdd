"""Classes that settings name by `BACKEND` and `OPTIONS`: root keys, and workers of rotations.

Settings also say for how long what a root key opens is used, and which of them wrap the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from importlib import import_module
from inspect import Parameter, signature
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

_Backend = TypeVar("_Backend")
# Those of this package, by the name of their base class, for messages: none is imported for them.
BACKENDS = {
    "RootKey": (
        "envelope_fields.root_keys.local.LocalRootKey",
        "envelope_fields.root_keys.aws.AwsKmsRootKey",
        "envelope_fields.root_keys.azure.AzureKeyVaultRootKey",
        "envelope_fields.root_keys.google.GoogleKmsRootKey",
        "envelope_fields.root_keys.pkcs11.Pkcs11RootKey",
        "envelope_fields.root_keys.vault.VaultTransitRootKey",
    ),
    "RotationWorker": (
        "envelope_fields.jobs.workers.process.ProcessWorker",
        "envelope_fields.jobs.workers.celery.CeleryWorker",
        "envelope_fields.jobs.workers.django_tasks.DjangoTasksWorker",
    ),
}


@dataclass(frozen=True, eq=False)
class BackendSettings:
    """A dictionary of `BACKEND` and `OPTIONS`: which class, and what it is made with."""

    where: str  # its place in the settings, for messages
    backend: str  # the dotted path of the class
    # The keyword arguments of its constructor. They may hold a key, so they stay out of repr.
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def make(self, base: type[_Backend]) -> _Backend:
        """Return an object of the class, which must be a subclass of `base`.

        Raises:
            ImproperlyConfigured: no such class, or options that it does not take.
        """
        try:
            return load(self.backend, self.options, base)
        except ValueError as error:
            raise ImproperlyConfigured(f"{self.where}: {error}") from None


def backend_settings(entry: Any, where: str, others: Iterable[str] = ()) -> BackendSettings:
    """Return what an entry of the settings says, a dictionary of `BACKEND`, `OPTIONS` and others.

    Raises:
        ImproperlyConfigured: it is not one, or has something else; the message says where.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("BACKEND"), str):
        raise ImproperlyConfigured(
            f'{where} must be a dictionary with a "BACKEND", the dotted path of a class.'
        )
    refuse_unknown(entry, where, ("BACKEND", "OPTIONS", *others))
    options = entry.get("OPTIONS", {})
    if not isinstance(options, Mapping):
        raise ImproperlyConfigured(f'{where}["OPTIONS"] must be a dictionary.')
    return BackendSettings(where, entry["BACKEND"], options)


def refuse_unknown(given: Mapping[str, Any], where: str, names: Any) -> None:
    """Raise `ImproperlyConfigured` if a dictionary has an entry of another name."""
    unknown = [str(name) for name in given if name not in names]
    if unknown:
        raise ImproperlyConfigured(f"{where} has no entry {unknown[0]!r}. {valid(names)}")


def load(backend: str, options: Mapping[str, Any], base: type[_Backend]) -> _Backend:
    """Return an object of a subclass of `base`, by its dotted path and keyword arguments.

    Raises:
        ValueError: no such class, or options that it does not take; never says their values.
    """
    backend_class = _imported(backend, base)
    taken = signature(backend_class).parameters
    if not any(each.kind is Parameter.VAR_KEYWORD for each in taken.values()):
        for name in options:
            if name not in taken:
                raise ValueError(f"{backend} has no option {name!r}. {valid(taken)}")
    try:
        return backend_class(**options)
    except TypeError as error:
        raise ValueError(f"{backend}: {error}") from None


def _imported(path: str, base: type[_Backend]) -> type[_Backend]:
    module, _, name = path.rpartition(".")
    try:
        backend = getattr(import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        ours = BACKENDS.get(base.__name__, ())
        listed = f". This package has {', '.join(ours)}" if ours and path not in ours else ""
        raise ValueError(f"the backend {path} cannot be imported: {error}{listed}") from error
    if not (isinstance(backend, type) and issubclass(backend, base)):
        raise ValueError(
            f"the backend {path} is not a subclass of {base.__module__}.{base.__qualname__}"
        )
    return backend


def valid(names: Any) -> str:
    """Return the names that would have been valid, for messages."""
    return f"Valid: {', '.join(map(str, names)) or 'none'}."


# -- Root keys -------------------------------------------------------------------------------------


LIFETIME_ENTRIES = ("MATERIAL_MAX_AGE_SECONDS", "GRACE_SECONDS")
FURTHER_ENTRY = "ALSO_WRAPPED_BY"
_SETTING = 'ENVELOPE_FIELDS["ROOT_KEYS"]'
ROOT_KEY_NAME_LENGTH = 100  # of the column that names it
_LONGEST_SECONDS = 31_536_000


@dataclass(frozen=True)
class Lifetime:
    """For how long material that a root key opened is used, in seconds."""

    max_age: float = 3600  # after this the root key is asked anew
    grace: float = 86_400  # for how much longer, where it does not answer


class RootKeys(dict[str, BackendSettings]):
    """The root keys of the settings by their names; `ImproperlyConfigured` where one has none."""

    def __missing__(self, name: str) -> BackendSettings:
        raise ImproperlyConfigured(
            f"{_SETTING} has no root key {name!r}, by which stored master keys are "
            f"wrapped. {valid(self)} Keep a root key until nothing is wrapped by it."
        )


class WrappedBy(dict[str | None, tuple[str, ...]]):
    """By which root keys a master key that names one is wrapped: that one, and further ones.

    Where it names none, by the first of the settings; `ImproperlyConfigured` where these have none.
    """

    def __missing__(self, name: str | None) -> tuple[str, ...]:
        if name is not None:
            return (name,)
        raise ImproperlyConfigured(
            f"{_SETTING} names no root key, and master keys are stored only wrapped by one. Add "
            "one, and run `python manage.py generate_root_key` to make its value."
        )


class Lifetimes(dict[str, Lifetime]):
    """For how long what is under a root key is used, by its name, also where it has no entry.

    Attributes:
        other: that of root keys without an entry.
        least_max_age: the least of the greatest ages of material under any of them, in seconds.
    """

    def __init__(self, lifetimes: Mapping[str, Lifetime], other: Lifetime) -> None:
        super().__init__(lifetimes)
        self.other = other
        self.least_max_age = min(each.max_age for each in (*self.values(), other))

    def __missing__(self, name: str) -> Lifetime:
        return self.other


def root_key_settings(given: Any) -> RootKeys:
    """Return the backends of root keys, by their names."""
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{_SETTING} must be a dictionary.")
    for name in given:
        if not isinstance(name, str) or not 0 < len(name) <= ROOT_KEY_NAME_LENGTH:
            raise ImproperlyConfigured(
                f"{_SETTING} has the name {name!r}; names are text of at most "
                f"{ROOT_KEY_NAME_LENGTH} characters."
            )
    entries = (*LIFETIME_ENTRIES, FURTHER_ENTRY)
    return RootKeys(
        {name: backend_settings(entry, where(name), entries) for name, entry in given.items()}
    )


def where(root_key: str) -> str:
    """Return the place of a root key in the settings, for messages."""
    return f"{_SETTING}[{root_key!r}]"


def wrapped_by(entries: Mapping[str, Any]) -> WrappedBy:
    """Return by which root keys master keys are wrapped, by the entries of root keys."""
    found = WrappedBy({name: (name, *_further_of(name, entries)) for name in entries})
    if entries:
        found[None] = found[next(iter(entries))]
    return found


def _further_of(name: str, entries: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the root keys that also wrap what the root key `name` wraps."""
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
    """Return what a dictionary in the settings says of it, or the default does."""
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
