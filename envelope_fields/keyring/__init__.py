"""The only home of plaintext master keys: it unwraps and caches them, and derives from them.

Rooms: `rows` reads key versions from the database, `wrapping` asks root keys, `materials` has the
plaintext, and a `table` holds what follows from both for `KEY_CACHE_SECONDS`, or until a key
changes in this process. While this thread's connection has uncommitted key changes nothing is kept
at all (law 3); a transaction that sees a `snapshot` of the past keeps what it learns to itself.

Whoever wants a key comes through the `door`, where the policy is asked and `uses` are counted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.signals import setting_changed

from envelope_fields import key_changes
from envelope_fields.conf import SETTING
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import WrappingKey
from envelope_fields.exceptions import MalformedEnvelope
from envelope_fields.keyring import door, materials, rows, snapshots
from envelope_fields.keyring.bound import BOUND, cache_seconds, table_now
from envelope_fields.keyring.macs import mac, open_audit_key
from envelope_fields.keyring.materials import (
    check_version,
    generate_audit_key,
    generate_version,
    rewrapped,
)
from envelope_fields.keyring.table import Table
from envelope_fields.keyring.uncommitted import refuse_uncommitted
from envelope_fields.keyring.uses import (
    READ_FIELD,
    VERIFY_VALUE,
    WRITE_FIELD,
    Errand,
    Harvest,
    Tally,
    counted,
    harvest,
    harvest_uses,
    here,
    on_beginning,
    on_refused,
    refused,
)
from envelope_fields.keyring.wrapping import check_root_key
from envelope_fields.policy import KeyVersionState
from envelope_fields.policy.acting import bound_actor
from envelope_fields.policy.facts import Facts
from envelope_fields.policy.requests import in_flight
from envelope_fields.policy.serving import check_serves_fields

__all__ = [
    "BOUND",
    "WRITE_FIELD",
    "Errand",
    "Harvest",
    "Tally",
    "cache_seconds",
    "check_root_key",
    "check_version",
    "evict",
    "forget",
    "generate_audit_key",
    "generate_version",
    "harvest",
    "harvest_uses",
    "here",
    "mac",
    "on_beginning",
    "on_refresh",
    "on_refused",
    "open_audit_key",
    "refused",
    "rewrapped",
    "unwrapping_key",
    "unwrapping_key_for",
    "unwrapping_key_to_verify",
    "version_of",
    "wrapping_key",
    "wrapping_key_for",
]

_uncommitted = key_changes.live  # a set: whether it is empty is seen without a call
_table = Table(seconds=0)
_refresh_listeners: list[Callable[[], None]] = []


def unwrapping_key(derivation: bytes, place: str = "") -> AESGCM:
    """Return the key that opens the data key of a field's value.

    Args:
        derivation: the first 21 bytes of the envelope: header and nonce prefix.
        place: `app.model.field`.

    Raises:
        MalformedEnvelope: they do not begin an envelope.
        MasterKeyNotFound: no key version has the id they name.
        MasterKeyUnusable: its state forbids it, or could not be read.
        KeyAccessDenied: the principal may not, or nobody is bound and somebody must be.
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    table, now = _table, monotonic()
    if not _uncommitted and now < table.deadline:
        opening = table.unwrapping.get(derivation)
        if opening is not None:
            key, uses, everybody, unbound, version = opening
            if (unbound and not in_flight) if bound_actor() is None else everybody:
                uses.at = now
                next(uses.count)
                return key
            if door.is_admitted(table, version, place, READ_FIELD):
                return key
    return unwrapping_key_for(READ_FIELD, derivation, place)


def wrapping_key(
    key: str | UUID, using: str | None, place: str = "", managed_by: str | None = None
) -> WrappingKey:
    """Return what wraps the data key of a field's value under the current version of a master key.

    Args:
        key: the master key's alias, or its id.
        using: the database that the value goes to; None when it leaves for elsewhere.
        place: `app.model.field`.
        managed_by: who manages the key, by the declaration of the field; None is anybody.

    Raises:
        MasterKeyNotFound: there is no such master key.
        MasterKeyUnusable: its state forbids it or could not be read; or the version is not
            committed and the value would outlive its rollback; or the key serves no fields, or is
            managed otherwise.
        KeyAccessDenied: the principal may not, or nobody is bound and somebody must be.
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    here.came = True
    table, now = _table, monotonic()
    if not _uncommitted and now < table.deadline:
        budgeted = table.wrapping_key(key, place)
        if budgeted is not None:
            known, uses, everybody, unbound, version, _ = budgeted
            if (unbound and not in_flight) if bound_actor() is None else everybody:
                uses.at = now
                next(uses.count)
                return known
            if door.is_admitted(table, version, place, WRITE_FIELD):
                return known
    return wrapping_key_for(WRITE_FIELD, key, using, place, managed_by)


def unwrapping_key_for(errand: Errand, derivation: Any, place: str = "") -> AESGCM:
    """Return the key that opens a data key, for any errand; see `unwrapping_key`."""
    here.came = True
    if not isinstance(derivation, bytes) or not derivation.startswith(layout.FORMAT_VERSION):
        raise MalformedEnvelope("not an envelope: it does not begin with a known format version")
    table = _current_table()
    facts, row = table.facts, table.version(derivation[1 : layout.HEADER_BYTES])
    door.admit(table, facts, row.state, place, errand)
    opening = table.unwrapping.get(derivation)
    if opening is None:
        key = materials.derived(row, derivation[layout.HEADER_BYTES :])
        opening = (key, *door.serving(table, row, READ_FIELD))
        table.keep_unwrapping_key(derivation, opening)
    counted(row.state.version_id, errand).one()
    return opening[0]


def unwrapping_key_to_verify(derivation: bytes, place: str = "") -> AESGCM:
    """Return what `unwrapping_key` does, for a look that is no use of the value."""
    return unwrapping_key_for(VERIFY_VALUE, derivation, place)


def wrapping_key_for(
    errand: Errand,
    key: str | UUID,
    using: str | None,
    place: str = "",
    managed_by: str | None = None,
) -> WrappingKey:
    """Return what wraps a data key, for any errand; see `wrapping_key`."""
    here.came = True
    if monotonic() >= _table.deadline:  # something is read before the value is written
        rows.lock_for_writing(using)
    table = _current_table()
    facts = table.facts
    # What `kms` wraps goes to places that nobody here knows: each has a prefix of its own.
    budgeted = table.wrapping_key(key, place) if errand is WRITE_FIELD else None
    if budgeted is None:
        rows.lock_for_writing(using)
    row = table.current_version(key)
    door.admit(table, facts, row.state, place, errand)
    if errand is WRITE_FIELD:
        check_serves_fields(table.policy(row.state.key_id), row.state.alias, managed_by)
    wrapping_key = budgeted[0] if budgeted else _new_wrapping_key(row, using)
    if errand is WRITE_FIELD and budgeted is None:
        table.keep_wrapping_key(key, place, wrapping_key, door.serving(table, row, WRITE_FIELD))
    counted(row.state.version_id, errand).one()
    return wrapping_key


def version_of(version_id: bytes) -> KeyVersionState:
    """Return the key version that an envelope names, without asking for its material.

    Raises:
        MasterKeyNotFound, MasterKeyUnusable: as for `unwrapping_key`.
    """
    return _current_table().version(version_id).state


def on_refresh(listener: Callable[[], None]) -> None:
    """Call `listener` when keys are about to be read anew, about every `KEY_CACHE_SECONDS`."""
    _refresh_listeners.append(listener)


def forget() -> None:
    """Drop what is known of keys: the next use reads the database. Material stays."""
    global _table
    _table = Table(seconds=0)
    snapshots.forget()


def evict() -> None:
    """Drop everything, wiping the plaintext material: the next use asks the root key."""
    forget()
    materials.evict()


def _new_wrapping_key(row: rows.KeyRow, using: str | None) -> WrappingKey:
    refuse_uncommitted(row.state, using)
    prefix = os.urandom(layout.NONCE_PREFIX_BYTES)
    return WrappingKey(layout.header(row.state.version_id), prefix, materials.derived(row, prefix))


def _current_table() -> Table:
    """Return the table to look into and to fill: one for this call or transaction, or the cache."""
    global _table
    if _uncommitted and key_changes.uncommitted():
        return Table(seconds=0)
    own = snapshots.table()
    if own is not None:
        return own
    table = _table
    if monotonic() >= table.deadline:
        table = _table = table_now()
        for listener in _refresh_listeners:
            listener()
    return table


def _settings_changed(*, setting: str, **_: Any) -> None:
    # A test case with `available_apps` flushes the keys, and no other signal is sent.
    if setting in (SETTING, "INSTALLED_APPS"):
        evict()


def _people_changed() -> None:
    _table.facts = Facts()  # replaced whole: who is deciding now keeps the old one to itself
    snapshots.forget()


key_changes.on_change(forget)
key_changes.on_people_change(_people_changed)
setting_changed.connect(_settings_changed, dispatch_uid="envelope_fields.keyring")
# Two processes must not share a nonce prefix and its count.
os.register_at_fork(after_in_child=forget)
