"""Material on its way to root keys and back: only here is a root key asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hmac import compare_digest
from typing import Any, Protocol, TypeVar

from django.core.exceptions import ImproperlyConfigured

from envelope_fields import root_keys
from envelope_fields.conf import BackendSettings, configuration, root_key_place
from envelope_fields.crypto import xaes
from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.exceptions import RootKeyRefused
from envelope_fields.root_keys import RootKey

_Answer = TypeVar("_Answer")


class Wrapped(Protocol):
    """Material as a root key wrapped it, and bound it to a context."""

    @property
    def wrapped_material(self) -> bytes: ...

    @property
    def root_key(self) -> str: ...

    @property
    def context(self) -> bytes: ...


def wrap(root_key: str, material: bytearray, bound_to: bytes) -> bytes:
    """Have a root key wrap material, and open that again to see that it gives back the same.

    Raises:
        ImproperlyConfigured: the root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    wrapped = _ask(root_key, lambda root: root.wrap(material, bound_to))
    opened = unwrap(root_key, wrapped, bound_to)
    try:
        same = compare_digest(opened, material)
    finally:
        wipe(opened)
    if not same:
        raise RootKeyRefused(f"The root key {root_key!r} does not give back what it wrapped.")
    return wrapped


def unwrap(root_key: str, wrapped: bytes, bound_to: bytes) -> KeyBuffer:
    """Have a root key open material, which the caller wipes; errors as above."""
    material: Any = _ask(root_key, lambda root: root.unwrap(wrapped, bound_to))
    if isinstance(material, bytearray) and len(material) == xaes.KEY_BYTES and any(material):
        buffer = KeyBuffer(material)
        wipe(material)
        return buffer
    del material  # error reports show the variables of each frame
    raise RootKeyRefused(
        f"The backend of the root key {root_key!r} must return {xaes.KEY_BYTES} bytes in a "
        "bytearray, and leave the wiping to its caller."
    )


def check_root_key(name: str) -> None:
    """Raise what the next use of the root key `name` would raise, for a missing or bad one.

    Raises:
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as for `wrap`.
    """
    _ask(name, lambda root_key: root_key.check())


def _ask(name: str, question: Callable[[RootKey], _Answer]) -> _Answer:
    try:
        return question(_root_key(configuration().root_key(name)))
    except ValueError as error:
        # Backends do not know Django; to the project a missing root key is a wrong setting.
        raise ImproperlyConfigured(f"{root_key_place(name)}: {error}") from None


@cache
def _root_key(entry: BackendSettings) -> RootKey:
    return root_keys.make(entry.backend, entry.options)
