"""The keys of a rotation, which move stored values from one version to another.

A version that has leaked is disabled, and its values have to leave it all the same. So a rotation,
and nothing else, may unwrap under a disabled version, as long as the master key itself is enabled.
What it derives stays here: in the keyring's table, it would serve readers, too.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from time import monotonic
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db.models import Q

from envelope_fields.conf import configuration
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import WrappingKey
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import materials, rows
from envelope_fields.keyring.cache import table_of_transaction
from envelope_fields.keyring.derived import refuse_uncommitted
from envelope_fields.keyring.table import UNWRAPPING_KEYS, WRAPS_PER_PREFIX, Table, cache_seconds
from envelope_fields.keyring.uses import MOVE_VALUE, count_many
from envelope_fields.models import KeyState, key_changes
from envelope_fields.policy import KeyVersionState, authorization
from envelope_fields.policy.attempts import Attempt
from envelope_fields.policy.authorization import check_serves_fields, check_state

__all__ = ["WRAPS_PER_PREFIX", "Transfer"]

# Reading keys for each batch took a tenth of a rotation's time.
SECONDS_BETWEEN_LOOKS = 1

_last_change = object()  # of keys, grants and people, by this process


class Transfer:
    """The keys of a rotation; what it knows of their state, and of people, is a second old at most.

    Args:
        using: the database whose values are moved.
        field_path: `app.model.field`, of the values.
    """

    def __init__(self, using: str, field_path: str) -> None:
        self._using = using
        self._field_path = field_path
        self._derived: dict[bytes, AESGCM] = {}
        self._wrapping: dict[UUID | str, tuple[WrappingKey, int]] = {}  # and what it has wrapped
        self._read_anew()

    def begin(self) -> bool:
        """Begin a batch; return whether its keys have to be asked for anew.

        They are read anew when a second has passed, or this process has changed any.
        """
        has_changed = self._last_change is not _last_change or key_changes.live
        if has_changed or monotonic() >= self._known_until:
            self._read_anew()
            return True
        return False

    def _read_anew(self) -> None:
        now = monotonic()
        seconds = _seconds_to_write()
        self._last_change = _last_change
        self._known_until = now + min(seconds, SECONDS_BETWEEN_LOOKS)
        self._write_until = now + seconds
        self._table = Table(seconds=0)
        self._admitted: dict[bytes, AESGCM] = {}  # by the first 21 bytes of envelopes
        self._writable: dict[UUID | str, rows.KeyRow] = {}  # what values may be written under
        self._wrapped_under: set[bytes] = set()  # the versions of these

    def prepare(self, version_ids: Collection[bytes]) -> None:
        """Read versions and their keys in a few queries, where a batch has values under many.

        One that is not there is met when it is asked for.

        Raises:
            MasterKeyUnusable: the database could not be read.
        """
        self._table.learn(version_ids)

    def unwrapping_key(self, derivation: bytes) -> AESGCM:
        """Return the key that opens data keys, also under a version that is disabled.

        Args:
            derivation: the first 21 bytes of an envelope.

        Raises:
            MasterKeyNotFound, MasterKeyUnusable, KeyAccessDenied: the values may not be opened.
            ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as the root key says.
        """
        key = self._admitted.get(derivation)
        if key is None:
            row = self._table.version(derivation[1 : layout.HEADER_BYTES])
            self._admit(_as_if_enabled(row.state))
            key = self._admitted[derivation] = self._unwrapping_key(row, derivation)
        return key

    def _unwrapping_key(self, row: rows.KeyRow, derivation: bytes) -> AESGCM:
        """Derive a key, or find one that an earlier batch has derived."""
        key = self._derived.get(derivation)
        if key is None:
            key = materials.derived(row, derivation[layout.HEADER_BYTES :])
            if len(self._derived) >= UNWRAPPING_KEYS:
                self._derived.pop(next(iter(self._derived)))
            self._derived[derivation] = key
        return key

    def wrapping_key(
        self, key: UUID | str, managed_by: str | None = None, *, values: int = 1
    ) -> WrappingKey:
        """Return what wraps data keys under a master key's current version, until `begin` says so.

        Args:
            key: the master key's id, or the alias by which a field names it.
            managed_by: who manages the key, by the declaration of the field; None is any.
            values: how many it is to wrap, at most `WRAPS_PER_PREFIX`.

        Raises:
            MasterKeyNotFound, MasterKeyUnusable, KeyAccessDenied: nothing may be written under it.
            ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as the root key says.
        """
        row = self._writable.get(key)
        if row is None:
            row = self._writable[key] = self._admitted_version(key, managed_by)
        version_id = row.state.version_id
        known, wrapped = self._wrapping.get(key, (None, 0))
        is_other = known is None or known.header[1:] != version_id
        if known is None or is_other or wrapped + values > WRAPS_PER_PREFIX:
            prefix = os.urandom(layout.NONCE_PREFIX_BYTES)
            aead = materials.derived(row, prefix)
            known, wrapped = WrappingKey(layout.header(version_id), prefix, aead), 0
        self._wrapping[key] = known, wrapped + values
        self._wrapped_under.add(version_id)
        return known

    def _admitted_version(self, key: UUID | str, managed_by: str | None) -> rows.KeyRow:
        """Return the current version of a master key, if values may be written under it."""
        row = self._table.current_version(key)
        self._admit(row.state)
        if isinstance(key, str):
            policy = self._table.policy(row.state.key_id)
            check_serves_fields(policy, row.state.alias, managed_by)
        refuse_uncommitted(row.state, self._using)
        return row

    def may_still_write(self, since: float) -> bool:
        """Return whether what was wrapped in this batch may be committed.

        A shredding disables a version, waits for `KEY_CACHE_SECONDS`, counts what is under it, and
        destroys it. A batch that had to wait longer reads the states anew.

        Args:
            since: when the transaction began, on the clock of `monotonic`: one that sees a
                snapshot reads what was true then.
        """
        if monotonic() < self._write_until:
            return True
        now = monotonic()
        seconds = _seconds_to_write()
        as_of = now if table_of_transaction() is None else since
        wanted = self._wrapped_under
        try:
            found = rows.matching(Q(version_id__in=wanted))
            for row in found:
                check_state(MOVE_VALUE.action, row.state)
        except MasterKeyUnusable:
            return False
        self._write_until = as_of + seconds
        in_time = not seconds or monotonic() < self._write_until
        return in_time and len(found) == len(wanted)

    def key_of(self, version_id: bytes) -> UUID:
        """Return the id of the master key that a version is of; errors as `unwrapping_key`'s."""
        return self._table.version(version_id).state.key_id

    def check_key(self, version_id: bytes) -> None:
        """Return if the master key of a version is enabled; errors as `unwrapping_key`'s."""
        version = self._table.version(version_id).state
        check_state(MOVE_VALUE.action, replace(version, state=KeyState.ENABLED))

    def count(self, opened_under: Mapping[bytes, int]) -> None:
        """Count the values that were opened under each version."""
        for version_id, values in opened_under.items():
            count_many(version_id, MOVE_VALUE, values)

    def _admit(self, version: KeyVersionState) -> None:
        attempt = Attempt(MOVE_VALUE.action, version.key_id, version.alias, self._field_path)
        table = self._table
        policy = table.policy(version.key_id)
        authorization.admit(attempt, policy, table.facts, configuration().database)
        check_state(MOVE_VALUE.action, version)


def _as_if_enabled(version: KeyVersionState) -> KeyVersionState:
    is_disabled = version.state == KeyState.DISABLED
    return replace(version, state=KeyState.ENABLED) if is_disabled else version


def _seconds_to_write() -> float:
    """Return how long one may write by what was read of keys.

    It leaves time for commits: a change of state is dated before its own, and ours comes after
    the last look.
    """
    try:
        return 0.9 * cache_seconds()
    except MasterKeyUnusable:  # the next read of keys raises it
        return 0


def _changed() -> None:
    global _last_change
    _last_change = object()


key_changes.on_change(_changed)
key_changes.on_users_change(_changed)
