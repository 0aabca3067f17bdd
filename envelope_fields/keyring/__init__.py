"""The only home of plaintext master keys: it unwraps them, caches them, and lends what they derive.

Rooms: `rows` reads key versions from the database, `materials` has their plaintext, and a `table`
holds what follows from both for `KEY_CACHE_SECONDS`, or until a key changes in this process. While
this thread's connection has uncommitted key changes nothing is kept at all (law 3); a transaction
that sees a `snapshot` of the past keeps what it learns to itself.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.signals import setting_changed

from envelope_fields import key_changes
from envelope_fields.conf import SETTING, configuration
from envelope_fields.crypto import format as layout
from envelope_fields.crypto import xaes
from envelope_fields.crypto.envelope import WrappingKey
from envelope_fields.exceptions import MalformedEnvelope, MasterKeyUnusable
from envelope_fields.keyring import materials, rows, snapshots
from envelope_fields.keyring.materials import check_root_key, check_version, generate_version
from envelope_fields.keyring.table import Table
from envelope_fields.policy import Action, KeyVersionState, authorize

__all__ = [
    "check_root_key",
    "check_version",
    "evict",
    "forget",
    "generate_version",
    "unwrapping_key",
    "version_of",
    "wrapping_key",
]

_any_uncommitted = key_changes.any_uncommitted
_table = Table(seconds=0)


def unwrapping_key(derivation: bytes) -> AESGCM:
    """Return the key that opens a data key.

    Args:
        derivation: the first 21 bytes of the envelope: header and nonce prefix.

    Raises:
        MalformedEnvelope: they do not begin an envelope.
        MasterKeyNotFound: no key version has the id they name.
        MasterKeyUnusable: its state forbids it, or could not be read.
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        KeyAccessDenied, RootKeyRefused, RootKeyUnavailable: as the policy and the root key say.
    """
    table = _table
    if not _any_uncommitted() and monotonic() < table.deadline:
        key = table.unwrapping.get(derivation)
        if key is not None:
            return key
    return _unwrapping_key(derivation)


def wrapping_key(key: str | UUID, using: str | None) -> WrappingKey:
    """Return what wraps a data key under the current version of a master key, for one value.

    Args:
        key: the master key's alias, or its id.
        using: the database that the value goes to; None when it leaves for elsewhere.

    Raises:
        MasterKeyNotFound: there is no such master key.
        MasterKeyUnusable: its state forbids it or could not be read, or the version is not
            committed and the value would outlive its rollback.
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        KeyAccessDenied, RootKeyRefused, RootKeyUnavailable: as the policy and the root key say.
    """
    table = _table
    if not _any_uncommitted() and monotonic() < table.deadline:
        known = table.wrapping_key(key)
        if known is not None:
            return known
    return _wrapping_key(key, using)


def version_of(version_id: bytes) -> KeyVersionState:
    """Return the key version that an envelope names, without asking for its material.

    Raises:
        MasterKeyNotFound, MasterKeyUnusable: as for `unwrapping_key`.
    """
    return _current_table().version(version_id).state


def forget() -> None:
    """Drop what is known of keys: the next use reads the database. Material stays."""
    global _table
    _table = Table(seconds=0)
    snapshots.forget()


def evict() -> None:
    """Drop everything, wiping the plaintext material: the next use asks the root key."""
    forget()
    materials.evict()


def _unwrapping_key(derivation: Any) -> AESGCM:
    if not isinstance(derivation, bytes) or not derivation.startswith(layout.FORMAT_VERSION):
        raise MalformedEnvelope("not an envelope: it does not begin with a known format version")
    table = _current_table()
    key = table.unwrapping.get(derivation)
    if key is None:
        row = table.version(derivation[1 : layout.HEADER_BYTES])
        authorize(Action.DECRYPT, row.state)
        with materials.lent(row) as material:
            key = xaes.derive(material, derivation[layout.HEADER_BYTES :])
        table.keep_unwrapping_key(derivation, key)
    return key


def _wrapping_key(key: str | UUID, using: str | None) -> WrappingKey:
    table = _current_table()
    known = table.wrapping_key(key)
    if known is not None:
        return known
    rows.lock_for_writing(using)
    row = table.current_version(key)
    authorize(Action.ENCRYPT, row.state)
    _refuse_uncommitted(row.state, using)
    prefix = os.urandom(layout.NONCE_PREFIX_BYTES)
    with materials.lent(row) as material:
        aead = xaes.derive(material, prefix)
    wrapping_key = WrappingKey(layout.header(row.state.version_id), prefix, aead)
    table.keep_wrapping_key(key, wrapping_key)
    return wrapping_key


def _current_table() -> Table:
    """Return the table to look into and to fill: one for this call or transaction, or the cache."""
    global _table
    if _any_uncommitted() and key_changes.uncommitted():
        return Table(seconds=0)
    own = snapshots.table()
    if own is not None:
        return own
    table = _table
    if monotonic() >= table.deadline:
        table = _table = Table(configuration().key_cache_seconds)
    return table


def _refuse_uncommitted(version: KeyVersionState, using: str | None) -> None:
    if using == configuration().database or not _any_uncommitted():
        return
    if key_changes.can_vanish(version.version_id):
        where = "outside the database" if using is None else f"in the database {using!r}"
        raise MasterKeyUnusable(
            f"Cannot encrypt for use {where}: {version} is not committed, and a rollback would "
            "leave the value without its key. Do this after the transaction."
        )


def _settings_changed(*, setting: str, **_: Any) -> None:
    if setting == SETTING:
        evict()


key_changes.on_change(forget)
setting_changed.connect(_settings_changed, dispatch_uid="envelope_fields.keyring")
# Two processes must not share a nonce prefix and its count.
os.register_at_fork(after_in_child=forget)
