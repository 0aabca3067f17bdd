"""The keys of a rotation, which move stored values from one version to another.

A version that has leaked is disabled, and its values have to leave it all the same. So a rotation,
and nothing else, may unwrap under a disabled version, as long as the master key itself is enabled.
What it derives stays here: in the keyring's cache, it would serve readers, too.
"""

import os
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q

from envelope_fields.conf import configuration
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import WrappingKey
from envelope_fields.databases import in_queries
from envelope_fields.exceptions import EnvelopeError, MasterKeyUnusable
from envelope_fields.keyring import cache, materials, rows
from envelope_fields.keyring.age import cache_seconds, uptime
from envelope_fields.keyring.table import UNWRAPPING_KEYS, WRAPS_PER_PREFIX
from envelope_fields.keyring.uses import MOVE_VALUE, count_many
from envelope_fields.models import KeyState, key_changes
from envelope_fields.policy import decisions
from envelope_fields.policy.attempts import Attempt
from envelope_fields.policy.data import PolicyData

# Reading keys for each batch took a tenth of a rotation's time.
SECONDS_BETWEEN_LOOKS = 1
LOOKS_APART = 50  # times as long as one takes, at least, where there are many keys

Named = UUID | str  # a master key, by its id or by the alias that a field names it by

_last_drop = object()  # of material, by this process


class Transfer:
    """The keys of a rotation; what it knows of their state, and of users, is seconds old at most.

    Args:
        using: the database whose values are moved; None where no rollback takes them back.
        field_path, managed_by: `app.model.field` of the values, and who manages the keys, by its
            declaration; None is any.
    """

    def __init__(self, using: str | None, field_path: str, managed_by: str | None = None) -> None:
        self._using = using
        self._field_path = field_path
        self._managed_by = managed_by
        self._derived = DerivedKeys()
        self._epoch = -1  # so that keys are read when the first batch begins
        self._known_until = self._write_until = 0.0
        self._forget_known()
        self._forget_admitted()

    def _forget_known(self) -> None:
        self._versions: dict[bytes, rows.KeyRow] = {}
        self._current: dict[Named, rows.KeyRow] = {}
        self._policy_data = PolicyData()

    def _forget_admitted(self) -> None:
        self._openable: set[bytes] = set()  # the versions that values may be opened under
        self._writable: dict[Named, rows.KeyRow] = {}  # and those that they may be written under
        self._has_refused = False

    def begin(self, version_ids: Collection[bytes] = ()) -> bool:
        """Begin a batch; return whether what was returned or raised before is to be asked anew.

        Keys are read anew when a second has passed, or this process has changed any. They are
        derived anew as often as readers do it.

        Args:
            version_ids: the key versions that the values are under.

        Raises:
            MasterKeyUnusable: the database could not be read.
        """
        is_over = self._derived.is_over()
        if is_over:
            self._derived = DerivedKeys()
        has_changed = self._epoch != cache.epoch or key_changes.live
        if not has_changed and uptime() < self._known_until:
            self.prepare(version_ids=version_ids)
            return is_over
        before, current = self._versions, self._current
        began, seconds = uptime(), _seconds_to_write()
        self._epoch = cache.epoch
        self._forget_known()
        self.prepare(current, version_ids={*before, *version_ids})
        holds = self._holds(before)
        if not holds:
            self._forget_admitted()
        apart = SECONDS_BETWEEN_LOOKS * max(1, LOOKS_APART * (uptime() - began))
        self._known_until = began + min(seconds, apart)
        self._write_until = began + seconds
        return is_over or not holds

    def prepare(self, keys: Collection[Named] = (), version_ids: Collection[bytes] = ()) -> None:
        """Read versions, and those to write under, in a few queries; errors as above.

        One that is not there is met when it is asked for.

        Args:
            keys: master keys that values go under.
            version_ids: versions that they are under; they may go under the current ones, too.
        """
        for ids in _chunks(version_ids, self._versions):
            found = rows.with_version_ids(ids)
            self._versions.update({row.state.version_id: row for row in found})
            keys = {*keys, *(row.state.key_id for row in found)}
        for names in _chunks(keys, self._current):
            self._current.update(rows.current_versions(names))

    def _holds(self, before: Mapping[bytes, rows.KeyRow]) -> bool:
        """Whether all that was admitted is as it was, and would be admitted again."""
        versions = self._versions
        if self._has_refused or any(
            versions.get(version_id) != row for version_id, row in before.items()
        ):
            return False
        try:
            for version_id in self._openable:
                self._admit(_as_if_enabled(versions[version_id]))
            return all(self._admitted_to(key) == row for key, row in self._writable.items())
        except (EnvelopeError, ImproperlyConfigured):
            return False

    def unwrapping_key(self, derivation: bytes) -> AESGCM:
        """Return the key that opens data keys, by the first 21 bytes of an envelope.

        Also under a version that is disabled.

        Raises:
            MasterKeyNotFound, MasterKeyUnusable, KeyAccessDenied: the values may not be opened.
            ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as the root key says.
        """
        version_id, kept = derivation[1 : layout.HEADER_BYTES], self._derived
        key = kept.unwrapping.get(derivation)
        if key is not None and version_id in self._openable:
            return key
        with self._noting_refusals():
            row = self._version(version_id)
            self._admit(_as_if_enabled(row))
            key = key or materials.derived(row, derivation[layout.HEADER_BYTES :])
        kept.keep_unwrapping_key(derivation, key)
        self._openable.add(version_id)
        return key

    def wrapping_key(self, key: Named, *, values: int = 1) -> WrappingKey:
        """Return what wraps data keys under a master key's current version, until `begin` says so.

        It is to wrap so many values, at most `WRAPS_PER_PREFIX`. Errors are those of
        `unwrapping_key`.
        """
        with self._noting_refusals():
            row = self._writable.get(key) or self._admitted_to(key)
            header = row.header
            kept = self._derived.wrapping
            known, wrapped = kept.get(key, (None, 0))
            if known is None or known.header != header or wrapped + values > WRAPS_PER_PREFIX:
                prefix = os.urandom(layout.NONCE_PREFIX_BYTES)
                known, wrapped = WrappingKey(header, prefix, materials.derived(row, prefix)), 0
        self._writable[key] = row
        kept[key] = known, wrapped + values
        return known

    def _admitted_to(self, key: Named) -> rows.KeyRow:
        """Return the current version of a master key, if values may be written under it."""
        row = self._current.get(key)
        if row is None:
            row = self._current[key] = rows.current_version(key)
        self._admit(row)
        if isinstance(key, str):
            row.policy.check_serves_fields(row.state.alias, self._managed_by)
        rows.refuse_uncommitted(row.state, self._using)
        return row

    def _admit(self, row: rows.KeyRow) -> None:
        version = row.state
        attempt = Attempt(MOVE_VALUE.action, version.key_id, version.alias, self._field_path)
        decisions.admit(attempt, row.policy, self._policy_data, configuration().database)
        version.check(MOVE_VALUE.action)

    @contextmanager
    def _noting_refusals(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._has_refused = True
            raise

    def may_still_write(self, since: float) -> bool:
        """Return whether what was wrapped in this batch may be committed.

        A shredding disables a version, waits for `KEY_CACHE_SECONDS`, counts what is under it, and
        destroys it. A batch that had to wait longer reads the states anew. A transaction that sees
        a snapshot reads what was true when it began, at a time of `age.uptime`.
        """
        if uptime() < self._write_until:
            return True
        now, seconds = uptime(), _seconds_to_write()
        as_of = now if cache.table_of_transaction() is None else since
        wanted = {row.state.version_id for row in self._writable.values()}
        try:
            found = rows.matching(Q(version_id__in=wanted))
            for row in found:
                row.state.check(MOVE_VALUE.action)
        except MasterKeyUnusable:
            return False
        self._write_until = as_of + seconds
        in_time = not seconds or uptime() < self._write_until
        return in_time and len(found) == len(wanted)

    def _version(self, version_id: bytes) -> rows.KeyRow:
        row = self._versions.get(version_id)
        if row is None:
            row = self._versions[version_id] = rows.with_version_id(version_id)
        return row

    def key_of(self, version_id: bytes) -> UUID:
        """Return the id of the master key that a version is of; errors as `unwrapping_key`'s."""
        return self._version(version_id).state.key_id

    def check_key(self, version_id: bytes) -> None:
        """Return if the master key of a version is enabled; errors as `unwrapping_key`'s."""
        version = self._version(version_id).state
        replace(version, state=KeyState.ENABLED).check(MOVE_VALUE.action)

    def count(self, opened_under: Mapping[bytes, int]) -> None:
        """Count the values that were opened under each version."""
        count_many(opened_under, MOVE_VALUE)


def _as_if_enabled(row: rows.KeyRow) -> rows.KeyRow:
    is_disabled = row.state.state == KeyState.DISABLED
    return row._replace(state=replace(row.state, state=KeyState.ENABLED)) if is_disabled else row


def _chunks(wanted: Collection[Any], known: Container[object]) -> Iterator[Sequence[Any]]:
    """Cut what is wanted and not known into what a query names at most."""
    return in_queries([each for each in wanted if each not in known])


def _seconds_to_write() -> float:
    """Return how long one may write by what was read of keys, which leaves time for commits.

    A change of state is dated before its own, and ours comes after the last look.
    """
    try:
        return 0.9 * cache_seconds()
    except MasterKeyUnusable:  # the next read of keys raises it
        return 0


class DerivedKeys:
    """The keys that a job derives in some batches."""

    __slots__ = ("_deadline", "_since", "unwrapping", "wrapping")

    def __init__(self) -> None:
        self.unwrapping: dict[bytes, AESGCM] = {}  # by the first 21 bytes of envelopes
        # For each master key, what wraps data keys, and how many it has wrapped.
        self.wrapping: dict[Named, tuple[WrappingKey, int]] = {}
        self._since = _last_drop
        settings = configuration()
        longest = min(settings.key_cache_seconds, settings.lifetimes.least_max_age)
        self._deadline = uptime() + min(longest, materials.remaining_seconds())

    def is_over(self) -> bool:
        """Whether the next batch is to derive its own.

        Their time is over, or that of their material; a root key has refused, or the keyring was
        emptied.
        """
        return uptime() >= self._deadline or self._since is not _last_drop

    def keep_unwrapping_key(self, derivation: bytes, key: AESGCM) -> None:
        """Keep a key for later values, and let the oldest go where there are many."""
        if len(self.unwrapping) >= UNWRAPPING_KEYS:
            self.unwrapping.pop(next(iter(self.unwrapping)))
        self.unwrapping[derivation] = key


def _dropped(_: bytes | None) -> None:
    global _last_drop
    _last_drop = object()


materials.on_drop(_dropped)
