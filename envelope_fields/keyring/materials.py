"""Plaintext material: made, unwrapped, lent and wiped here. It is returned to nobody.

The root key is asked once per version and process; what it opened stays until it is evicted or
the process ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hmac import compare_digest
from threading import RLock
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from envelope_fields import key_changes, root_keys
from envelope_fields.conf import RootKeySettings, configuration, root_key_place
from envelope_fields.crypto import context, xaes
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.buffers import KeyBuffer, random_buffer, wipe
from envelope_fields.exceptions import MasterKeyUnusable, RootKeyRefused
from envelope_fields.keyring import rows
from envelope_fields.root_keys import RootKey

_Answer = TypeVar("_Answer")

_plaintext: dict[bytes, KeyBuffer] = {}
_lock = RLock()


@contextmanager
def lent(row: rows.KeyRow) -> Iterator[KeyBuffer]:
    """Lend the material of a version: from the cache, or unwrapped for this once and wiped.

    Raises:
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    cached = row.context in _plaintext
    if not cached and key_changes.any_uncommitted() and key_changes.uncommitted():
        material = _unwrap(row)  # law 3: the row may vanish, so nothing of it stays
        try:
            yield material
        finally:
            wipe(material)
    else:
        # Locked while it is lent: another thread that evicts must not wipe it in our hands.
        with _lock:
            material = _cached(row)
            yield material
            # A signal handler of this thread may: what was derived of zeros must not be used.
            if not any(material):
                raise MasterKeyUnusable("The keyring was emptied while it was used. Try again.")


def generate_version(key_id: UUID, number: int, usage: str) -> dict[str, Any]:
    """Return the columns of a new key version, its material made here and wrapped at once.

    The wrapped material is opened again before it is returned, so that nothing is ever stored
    under a version that its root key would refuse.

    Raises:
        ImproperlyConfigured: no usable root key; the message says which command makes one.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    version_id = os.urandom(layout.VERSION_ID_BYTES)
    bound_to = context.version_context(key_id, version_id, number, usage)
    root_key = configuration().wrapping_root_key
    material = random_buffer(xaes.KEY_BYTES)
    try:
        wrapped = _ask(root_key, lambda root: root.wrap(material, bound_to))
        opened = _opened(root_key, wrapped, bound_to)
        same = compare_digest(opened, material)
        wipe(opened)
    finally:
        wipe(material)
    if not same:
        raise RootKeyRefused(f"The root key {root_key!r} does not give back what it wrapped.")
    return {
        "version_id": version_id,
        "number": number,
        "wrapped_material": wrapped,
        "root_key": root_key,
    }


def check_version(version_id: bytes) -> None:
    """Have the root key open the material of a key version now, and wipe it at once.

    No cache is asked or filled, and the policy is not: nothing is done with the material.

    Raises:
        MasterKeyNotFound: no key version has this id.
        MasterKeyUnusable: the database could not be read.
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    wipe(_unwrap(rows.with_version_id(version_id)))


def check_root_key(name: str) -> None:
    """Raise what the next use of the root key `name` would raise, for a missing or bad one.

    Raises:
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as for `generate_version`.
    """
    _ask(name, lambda root_key: root_key.check())


def evict() -> None:
    """Wipe and drop all material: the next use asks the root key."""
    with _lock:
        while _plaintext:
            wipe(_plaintext.popitem()[1])


def _cached(row: rows.KeyRow) -> KeyBuffer:
    # By what the root key bound it to: a row that was altered since is not taken for the same.
    material = _plaintext.get(row.context)
    if material is None:
        material = _plaintext[row.context] = _unwrap(row)
    return material


def _unwrap(row: rows.KeyRow) -> KeyBuffer:
    return _opened(row.root_key, row.wrapped_material, row.context)


def _opened(root_key: str, wrapped: bytes, bound_to: bytes) -> KeyBuffer:
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


def _ask(name: str, question: Callable[[RootKey], _Answer]) -> _Answer:
    try:
        return question(_root_key(configuration().root_key(name)))
    except ValueError as error:
        # Backends do not know Django; to the project a missing root key is a wrong setting.
        raise ImproperlyConfigured(f"{root_key_place(name)}: {error}") from None


@cache
def _root_key(entry: RootKeySettings) -> RootKey:
    return root_keys.make(entry.backend, entry.options)


def _after_fork() -> None:
    global _lock
    _lock = RLock()  # a thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)
