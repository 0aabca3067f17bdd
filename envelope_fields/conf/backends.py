"""Classes that settings name by `BACKEND` and `OPTIONS`: root keys, and workers of rotations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import Parameter, signature
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

_Backend = TypeVar("_Backend")


@dataclass(frozen=True, eq=False)
class BackendSettings:
    """A dictionary of `BACKEND` and `OPTIONS`: which class, and what it is made with.

    Attributes:
        where: its place in the settings, for messages.
        backend: the dotted path of the class.
        options: the keyword arguments of its constructor.
    """

    where: str
    backend: str
    # Options may hold a key, so they stay out of repr.
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
    """Return what an entry of the settings says.

    Args:
        entry: a dictionary of `BACKEND` and `OPTIONS`.
        where: its place in the settings, for messages.
        others: what else it may have.

    Raises:
        ImproperlyConfigured: it is none, or has something else.
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
    """Raise if a dictionary has an entry of another name.

    Raises:
        ImproperlyConfigured: it has.
    """
    unknown = [str(name) for name in given if name not in names]
    if unknown:
        raise ImproperlyConfigured(f"{where} has no entry {unknown[0]!r}. {valid(names)}")


def load(backend: str, options: Mapping[str, Any], base: type[_Backend]) -> _Backend:
    """Return an object of a class that settings name.

    Args:
        backend: the dotted path of a subclass of `base`.
        options: its keyword arguments.
        base: what it has to be.

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
        raise ValueError(f"the backend {path} cannot be imported: {error}") from error
    if not (isinstance(backend, type) and issubclass(backend, base)):
        raise ValueError(
            f"the backend {path} is not a subclass of {base.__module__}.{base.__qualname__}"
        )
    return backend


def valid(names: Any) -> str:
    """Return the names that would have been valid, for messages."""
    return f"Valid: {', '.join(map(str, names)) or 'none'}."
