"""Plaintext material: made, unwrapped, lent and wiped here. It is returned to nobody.

The root key is asked once per version and process; what it opened stays until it is evicted or
the process ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any
from uuid import UUID

from envelope_fields import key_changes
from envelope_fields.conf import configuration
from envelope_fields.crypto import context, xaes
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.buffers import KeyBuffer, random_buffer, wipe
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import rows, wrapping

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
        with _lent_once(row) as material:  # law 3: the row may vanish, so nothing of it stays
            yield material
    else:
        with _lent_from_cache(row) as material:
            yield material


@contextmanager
def lent_for_macs(row: rows.KeyRow) -> Iterator[KeyBuffer]:
    """Lend the material of the audit trail's key; errors as above.

    It is used in the very transactions that change keys. So it is kept unless its own row is
    uncommitted: each act would ask the root key otherwise.
    """
    with (_lent_once if _is_uncommitted(row) else _lent_from_cache)(row) as material:
        yield material


def _is_uncommitted(row: rows.KeyRow) -> bool:
    changes = key_changes.uncommitted() if key_changes.any_uncommitted() else ()
    return any(row.state.version_id in change.version_ids for change in changes)


@contextmanager
def _lent_once(row: rows.KeyRow) -> Iterator[KeyBuffer]:
    material = _unwrap(row)
    try:
        yield material
    finally:
        wipe(material)


@contextmanager
def _lent_from_cache(row: rows.KeyRow) -> Iterator[KeyBuffer]:
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
        wrapped = wrapping.wrap(root_key, material, bound_to)
    finally:
        wipe(material)
    return {
        "version_id": version_id,
        "number": number,
        "wrapped_material": wrapped,
        "root_key": root_key,
    }


def rewrapped(row: wrapping.Wrapped, to_root_key: str) -> bytes:
    """Return the material of a row as another root key wraps it, which opens to the same.

    No cache is asked or filled, and the policy is not: nothing is done with the material.

    Args:
        row: what is wrapped, by which root key, and bound to what.
        to_root_key: the name of a root key in the settings.

    Raises:
        ImproperlyConfigured: one of the root keys is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root keys say.
    """
    material = wrapping.unwrap(row.root_key, row.wrapped_material, row.context)
    try:
        return wrapping.wrap(to_root_key, material, row.context)
    finally:
        wipe(material)


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


def is_cached(row: rows.KeyRow) -> bool:
    """Whether the material of a version is here, so that no root key has to be asked."""
    return row.context in _plaintext


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
    return wrapping.unwrap(row.root_key, row.wrapped_material, row.context)


def _after_fork() -> None:
    global _lock
    _lock = RLock()  # a thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)
