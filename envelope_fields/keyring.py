"""The only home of plaintext master keys: it unwraps them, caches them, and lends what they derive.

What the database says of keys is kept in a `_Table`, for `KEY_CACHE_SECONDS` and until a key
changes in this process; the table is then replaced whole. Plaintext material outlives tables: the
root key is asked once per version and process. While this thread's connection has uncommitted key
changes nothing is cached at all (law 3).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from threading import RLock
from time import monotonic
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.transaction import TransactionManagementError

from envelope_fields import key_changes, root_keys
from envelope_fields.conf import RootKeySettings, configuration, root_key_place
from envelope_fields.crypto import context, xaes
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.buffers import random_buffer, wipe
from envelope_fields.crypto.envelope import WrappingKey
from envelope_fields.exceptions import MalformedEnvelope, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.models import MasterKeyVersion
from envelope_fields.policy import Action, KeyVersionState, authorize
from envelope_fields.root_keys import RootKey

WRAPS_PER_PREFIX = 4096  # docs/spec/envelope-v1.md, "Nonce"
UNWRAPPING_KEYS = 4096  # about 2 kB each

# Columns of migration 0001 alone: values are read and written while later ones are applied.
_COLUMNS = (
    "version_id", "number", "state", "master_key_id", "master_key__alias", "master_key__state",
    "master_key__usage", "wrapped_material", "root_key",
)  # fmt: skip

_Answer = TypeVar("_Answer")
_any_uncommitted = key_changes.any_uncommitted


class _Row(NamedTuple):
    """A key version as the database has it."""

    state: KeyVersionState
    usage: str
    wrapped_material: bytes
    root_key: str

    @property
    def context(self) -> bytes:
        state = self.state
        return context.version_context(state.key_id, state.version_id, state.number, self.usage)


class _Budgeted(NamedTuple):
    """A wrapping key and the wraps it has left; `next` on a count is one step for all threads."""

    key: WrappingKey
    uses: Iterator[int]


class _Table:
    """What this process knows of keys, as of one moment; replaced whole, never refreshed."""

    __slots__ = ("current", "deadline", "unwrapping", "versions", "wrapping")

    def __init__(self, seconds: float) -> None:
        self.deadline = monotonic() + seconds
        self.versions: dict[bytes, _Row] = {}
        self.current: dict[str, _Row] = {}
        self.unwrapping: dict[bytes, AESGCM] = {}
        self.wrapping: dict[str, _Budgeted] = {}


_table = _Table(seconds=0)
_materials: dict[bytes, bytearray] = {}
_lock = RLock()


def unwrapping_key(derivation: bytes) -> AESGCM:
    """Return the key that opens a data key.

    Args:
        derivation: the first 21 bytes of the envelope: header and nonce prefix.

    Raises:
        MalformedEnvelope: they do not begin an envelope.
        MasterKeyNotFound: no key version has the id they name.
        MasterKeyUnusable: its state forbids it, or could not be read.
        KeyAccessDenied, RootKeyRefused, RootKeyUnavailable: as the policy and the root key say.
    """
    table = _table
    if not _any_uncommitted() and monotonic() < table.deadline:
        key = table.unwrapping.get(derivation)
        if key is not None:
            return key
    return _unwrapping_key(derivation)


def wrapping_key(alias: str, using: str | None) -> WrappingKey:
    """Return what wraps a data key under the current version of a master key, for one value.

    Args:
        alias: the master key's alias.
        using: the database that the value goes to; None when it leaves for elsewhere.

    Raises:
        MasterKeyNotFound: no master key has this alias.
        MasterKeyUnusable: its state forbids it or could not be read, or the version is not
            committed and the value would outlive its rollback.
        KeyAccessDenied, RootKeyRefused, RootKeyUnavailable: as the policy and the root key say.
    """
    table = _table
    if not _any_uncommitted() and monotonic() < table.deadline:
        budgeted = table.wrapping.get(alias)
        if budgeted is not None and next(budgeted.uses) < WRAPS_PER_PREFIX:
            return budgeted.key
    return _wrapping_key(alias, using)


def version_of(version_id: bytes) -> KeyVersionState:
    """Return the key version that an envelope names, without asking for its material.

    Raises:
        MasterKeyNotFound, MasterKeyUnusable: as for `unwrapping_key`.
    """
    return _version(_current_table(), version_id).state


def current_alias(key_id: UUID) -> str:
    """Return the alias of a master key given by its id.

    Raises:
        MasterKeyNotFound: there is none, or it has no alias any more.
    """
    row = _read_row(f"No master key has the id {key_id}.", master_key_id=key_id)
    if row.state.alias is None:
        raise MasterKeyNotFound(f"The master key {key_id} has no alias: it was destroyed.")
    return row.state.alias


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
        wrapped = _ask_root_key(root_key, lambda root: root.wrap(material, bound_to))
        wipe(_ask_root_key(root_key, lambda root: root.unwrap(wrapped, bound_to)))
    finally:
        wipe(material)
    return {
        "version_id": version_id,
        "number": number,
        "wrapped_material": wrapped,
        "root_key": root_key,
    }


def check_root_key(name: str) -> None:
    """Raise what the next use of the root key `name` would raise, for a missing or bad one.

    Raises:
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as for `generate_version`.
    """
    _ask_root_key(name, lambda root_key: root_key.check())


def check_version(version_id: bytes) -> None:
    """Have the root key open the material of a key version now, and wipe it at once.

    No cache is asked or filled, and the policy is not: nothing is done with the material.

    Raises:
        MasterKeyNotFound: no key version has this id.
        MasterKeyUnusable: the database could not be read.
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    missing = f"No master key version has the id {version_id.hex()}."
    wipe(_unwrap(_read_row(missing, version_id=version_id)))


def forget() -> None:
    """Drop what is known of keys: the next use reads the database. Material stays."""
    global _table
    _table = _Table(seconds=0)


def evict() -> None:
    """Drop everything, wiping the plaintext material: the next use asks the root key."""
    with _lock:
        forget()
        while _materials:
            wipe(_materials.popitem()[1])


def _unwrapping_key(derivation: Any) -> AESGCM:
    if not isinstance(derivation, bytes) or not derivation.startswith(layout.FORMAT_VERSION):
        raise MalformedEnvelope("not an envelope: it does not begin with a known format version")
    table = _current_table()
    if (known := table.unwrapping.get(derivation)) is not None:
        return known
    row = _version(table, derivation[1 : layout.HEADER_BYTES])
    authorize(Action.DECRYPT, row.state)
    with _material(row) as material:
        key = xaes.derive(material, derivation[layout.HEADER_BYTES :])
    with _lock:
        if len(table.unwrapping) >= UNWRAPPING_KEYS:
            table.unwrapping.pop(next(iter(table.unwrapping)))
        table.unwrapping[derivation] = key
    return key


def _wrapping_key(alias: str, using: str | None) -> WrappingKey:
    table = _current_table()
    budgeted = table.wrapping.get(alias)
    if budgeted is not None and next(budgeted.uses) < WRAPS_PER_PREFIX:
        return budgeted.key
    row = _current(table, alias)
    authorize(Action.ENCRYPT, row.state)
    _refuse_uncommitted(row.state, using)
    prefix = os.urandom(layout.NONCE_PREFIX_BYTES)
    with _material(row) as material:
        aead = xaes.derive(material, prefix)
    key = WrappingKey(layout.header(row.state.version_id), prefix, aead)
    table.wrapping[alias] = _Budgeted(key, count(1))
    return key


def _current_table() -> _Table:
    """Return the table to look into and to fill: one of its own for this call, or the cache."""
    global _table
    if _any_uncommitted() and key_changes.uncommitted():
        return _Table(seconds=0)
    table = _table
    if monotonic() >= table.deadline:
        # Its time runs from before the first query, so what it knows is never older than it says.
        table = _table = _Table(configuration().key_cache_seconds)
    return table


def _version(table: _Table, version_id: bytes) -> _Row:
    row = table.versions.get(version_id)
    if row is None:
        missing = (
            f"No master key version has the id {version_id.hex()}: its row is not in the database "
            f"{configuration().database!r}. Restore it from a backup of the keys."
        )
        row = table.versions[version_id] = _read_row(missing, version_id=version_id)
    return row


def _current(table: _Table, alias: str) -> _Row:
    row = table.current.get(alias)
    if row is None:
        missing = (
            f"No master key has the alias {alias!r} in the database {configuration().database!r}. "
            "Make it with `python manage.py create_master_key`"
            + (", or run `python manage.py migrate`." if alias == "default" else ".")
        )
        row = table.current[alias] = _read_row(missing, master_key__alias=alias)
        if row.state.alias != alias:  # a database may compare without case
            del table.current[alias]
            raise MasterKeyNotFound(missing)
    return row


def _read_row(missing: str, **which: Any) -> _Row:
    """Read the newest key version of those that match, from where keys are written."""
    database = configuration().database
    rows = MasterKeyVersion.objects.using(database).filter(**which).order_by("-number")
    try:
        columns = rows.values_list(*_COLUMNS).first()
    except TransactionManagementError:
        raise
    except DatabaseError as error:
        raise MasterKeyUnusable(
            f"Master keys could not be read from the database {database!r} "
            f"({type(error).__name__}). Is it reachable, and migrated with "
            "`python manage.py migrate`?"
        ) from error
    if columns is None:
        raise MasterKeyNotFound(missing)
    version_id, number, state, key_id, alias, key_state, usage, wrapped, root_key = columns
    known = KeyVersionState(bytes(version_id), number, state, key_id, alias, key_state)
    return _Row(known, usage, bytes(wrapped), root_key)


def _refuse_uncommitted(version: KeyVersionState, using: str | None) -> None:
    if using == configuration().database or not _any_uncommitted():
        return
    if key_changes.can_vanish(version.version_id):
        where = "outside the database" if using is None else f"in the database {using!r}"
        raise MasterKeyUnusable(
            f"Cannot encrypt for use {where}: {version} is not committed, and a rollback would "
            "leave the value without its key. Do this after the transaction."
        )


@contextmanager
def _material(row: _Row) -> Iterator[bytearray]:
    """Lend the plaintext material of a version: cached, or unwrapped for this once and wiped."""
    if _any_uncommitted() and key_changes.uncommitted():
        material = _unwrap(row)
        try:
            yield material
        finally:
            wipe(material)
    else:
        # Locked while it is lent: another thread that evicts must not wipe it in our hands.
        with _lock:
            yield _cached_material(row)


def _cached_material(row: _Row) -> bytearray:
    version_id = row.state.version_id
    material = _materials.get(version_id)
    if material is None:
        material = _materials[version_id] = _unwrap(row)
    return material


def _unwrap(row: _Row) -> bytearray:
    return _ask_root_key(row.root_key, lambda root: root.unwrap(row.wrapped_material, row.context))


def _ask_root_key(name: str, question: Callable[[RootKey], _Answer]) -> _Answer:
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
    _lock = RLock()  # the parent may have held it
    forget()  # two processes must not share a nonce prefix and its count


key_changes.on_change(forget)
os.register_at_fork(after_in_child=_after_fork)
