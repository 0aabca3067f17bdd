"""What a process knows of keys, as of one moment."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from threading import Lock
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.crypto.envelope import WrappingKey
from envelope_fields.keyring import rows

WRAPS_PER_PREFIX = 4096  # docs/spec/envelope-v1.md, "Nonce"
UNWRAPPING_KEYS = 4096  # about 2 kB each


class Budgeted(NamedTuple):
    """A wrapping key and the wraps it has left; `next` on a count is one step for all threads."""

    key: WrappingKey
    uses: Iterator[int]


class Table:
    """Rows and derived keys, valid until `deadline`; replaced whole, never refreshed.

    Its time runs from before the first query, so what it knows is never older than it says; see
    `snapshots` for transactions that see the past.
    """

    __slots__ = ("_lock", "current", "deadline", "unwrapping", "versions", "wrapping")

    def __init__(self, seconds: float) -> None:
        self.deadline = monotonic() + seconds
        self.versions: dict[bytes, rows.KeyRow] = {}
        self.current: dict[str | UUID, rows.KeyRow] = {}
        self.unwrapping: dict[bytes, AESGCM] = {}
        self.wrapping: dict[str | UUID, Budgeted] = {}
        self._lock = Lock()

    def version(self, version_id: bytes) -> rows.KeyRow:
        """Return the version that an envelope names; errors as `rows` raises them."""
        row = self.versions.get(version_id)
        if row is None:
            row = self.versions[version_id] = rows.with_version_id(version_id)
        return row

    def current_version(self, key: str | UUID) -> rows.KeyRow:
        """Return the version to write under; errors as `rows` raises them."""
        row = self.current.get(key)
        if row is None:
            row = self.current[key] = rows.current_version(key)
        return row

    def wrapping_key(self, key: str | UUID) -> WrappingKey | None:
        """Return a master key's wrapping key for one value, if there is one with wraps left."""
        budgeted = self.wrapping.get(key)
        if budgeted is not None and next(budgeted.uses) < WRAPS_PER_PREFIX:
            return budgeted.key
        return None

    def keep_wrapping_key(self, key: str | UUID, wrapping_key: WrappingKey) -> None:
        """Keep a wrapping key that serves its first value now: prefix, key and count as one."""
        self.wrapping[key] = Budgeted(wrapping_key, count(1))

    def keep_unwrapping_key(self, derivation: bytes, key: AESGCM) -> None:
        """Keep a key that readers will want again, and let the oldest go where there are many."""
        with self._lock:
            if len(self.unwrapping) >= UNWRAPPING_KEYS:
                self.unwrapping.pop(next(iter(self.unwrapping)))
            self.unwrapping[derivation] = key
