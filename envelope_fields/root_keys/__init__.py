"""Root keys: they wrap master keys and live outside the database. One backend a module."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

from envelope_fields.root_keys.base import RootKey

__all__ = ["RootKey", "make"]


def make(backend: str, options: Mapping[str, Any]) -> RootKey:
    """Return a root key.

    Args:
        backend: the dotted path of a subclass of `RootKey`.
        options: its keyword arguments.

    Raises:
        ValueError: no such class, or options that it does not take; never says their values.
    """
    backend_class = _import(backend)
    valid = list(signature(backend_class).parameters)
    for name in options:
        if name not in valid:
            raise ValueError(
                f"{backend} has no option {name!r}. Valid: {', '.join(valid) or 'none'}."
            )
    try:
        return backend_class(**options)
    except TypeError as error:
        raise ValueError(f"{backend}: {error}") from None


def _import(path: str) -> type[RootKey]:
    module, _, name = path.rpartition(".")
    try:
        backend = getattr(import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"the backend {path} cannot be imported: {error}") from error
    if not (isinstance(backend, type) and issubclass(backend, RootKey)):
        raise ValueError(
            f"the backend {path} is not a subclass of envelope_fields.root_keys.RootKey"
        )
    return backend
