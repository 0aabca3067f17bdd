"""What a process knows of keys, as of one moment; `age` says for how long it may go by that."""

from collections.abc import Iterator
from itertools import count, islice
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC

from envelope_fields.conf import configuration
from envelope_fields.crypto.envelope import WrappingKey
from envelope_fields.databases import IN_A_QUERY
from envelope_fields.keyring import materials, rows
from envelope_fields.keyring.age import cache_seconds, uptime
from envelope_fields.keyring.index_rows import IndexRow
from envelope_fields.keyring.uses import Purpose, Serving, Uses, counted
from envelope_fields.policy import KeyVersionState, decisions
from envelope_fields.policy.data import PolicyData

WRAPS_PER_PREFIX = 4096  # docs/spec/envelope-v1.md, "Nonce"
UNWRAPPING_KEYS = WRAPPING_KEYS = 4096  # about 2 kB each
HANDLES = 16384
ABSORBED = 4096
LET_GO = 64  # the part of what is kept that goes at once

# Each with what is `Serving`. A derived key that opens data keys:
Opening = tuple[AESGCM, Uses, bool, bool, KeyVersionState]
# What wraps data keys, and, last, the count of what it has wrapped: `next` on a count is one step
# for all threads.
Budgeted = tuple[WrappingKey, Uses, bool, bool, KeyVersionState, Iterator[int]]
# An HMAC of a search key, which begins the MACs of an index, and, last, the label of that.
Absorbed = tuple[HMAC, Uses, bool, bool, KeyVersionState, str]


class Table:
    """Rows and derived keys, valid until `deadline`; replaced as a whole, never refreshed.

    It has no lock: threads, and signal handlers of the same thread, change its dictionaries in
    single steps, and what two of them keep or drop at once is derived anew at worst.

    Its time runs from before the first query, so what it knows is never older than it says; see
    the `cache` for transactions that see the past.

    Attributes:
        deadline: until when it is valid, on the clock of `age.uptime`.
        half_life: until when objects are loaded by it: they open for as long again.
        is_of_transaction: whether it serves one transaction, which sees the past.
    """

    __slots__ = (
        "_ahead", "_expected", "absorbed", "conversions", "current", "deadline", "half_life",
        "handles", "indexes", "is_of_transaction", "pinned", "policy_data", "unwrapping",
        "versions", "wrapping",
    )  # fmt: skip

    def __init__(self, seconds: float, since: float | None = None) -> None:
        since = uptime() if since is None else since
        self.deadline = since + seconds
        self.half_life = since + seconds / 2
        self.is_of_transaction = False
        self.handles: dict[tuple[Any, str | None], Any] = {}
        self.versions: dict[bytes, rows.KeyRow] = {}
        self.current: dict[str | UUID, rows.KeyRow] = {}
        self.policy_data = PolicyData()
        self.unwrapping: dict[bytes, Opening] = {}
        self.wrapping: dict[tuple[str | UUID, str], Budgeted] = {}
        self.absorbed: dict[tuple[str, str | UUID, Purpose], Absorbed] = {}
        self.indexes: dict[str, IndexRow] = {}
        self.conversions: Any = None  # how far they are, once that was asked
        # The versions of search keys that indexes are pinned to.
        self.pinned: dict[tuple[str, str | UUID], rows.KeyRow] = {}
        # Versions that are read together with the first of them, and what was read of them.
        self._expected: frozenset[bytes] = frozenset()
        self._ahead: dict[bytes, rows.KeyRow] = {}

    def expect(self, before: "Table") -> None:
        """Have the versions that another table was asked for last read in one query.

        Lists have values of many tenants, and are read again and again.
        """
        self._expected = frozenset(tuple(before.versions)[-IN_A_QUERY:])

    def version(self, version_id: bytes) -> rows.KeyRow:
        """Return the version that an envelope names; errors as `rows` raises them."""
        row = self.versions.get(version_id)
        if row is None:
            row = self._read_ahead(version_id) or rows.with_version_id(version_id)
            self.versions[version_id] = row
        return row

    def _read_ahead(self, version_id: bytes) -> rows.KeyRow | None:
        if version_id in self._expected:
            expected, self._expected = self._expected, frozenset()
            found = rows.with_version_ids(expected)
            self._ahead.update({row.state.version_id: row for row in found})
        return self._ahead.pop(version_id, None)

    def current_version(self, key: str | UUID) -> rows.KeyRow:
        """Return the version to write under; errors as `rows` raises them."""
        row = self.current.get(key)
        if row is None:
            row = self.current[key] = rows.current_version(key)
        return row

    def wrapping_key(self, key: str | UUID, field_path: str) -> Budgeted | None:
        """Return a master key's wrapping key for one value, if there is one that may wrap more.

        Each field has its own, so that a row does not show which of its values one process wrote,
        and because what one may write under need not serve another.
        """
        budgeted = self.wrapping.get((key, field_path))
        if budgeted is not None and next(budgeted[-1]) < WRAPS_PER_PREFIX:
            return budgeted
        return None

    def keep_wrapping_key(
        self, key: str | UUID, field_path: str, wrapping_key: WrappingKey, serving: Serving
    ) -> None:
        """Keep a wrapping key that serves its first value now: prefix, key and count as one."""
        budgeted = (wrapping_key, *serving, count(1))
        self.keep(self.wrapping, WRAPPING_KEYS, (key, field_path), budgeted)

    def has_admitted(self, version: KeyVersionState, field_path: str, purpose: Purpose) -> bool:
        """Whether it is known already that this actor may come through, and is counted."""
        actor = decisions.known_actor()  # first: to look a user up may change what is known
        if (actor, purpose, version.version_id, field_path) not in self.policy_data.admitted:
            return False
        counted(version.version_id, purpose).one()
        return True

    def end(self) -> None:
        """Be valid no longer: what was loaded by it asks again.

        Objects that were loaded by it may live long, and refer to it. It keeps no key for them.
        """
        self.deadline = self.half_life = 0  # first: nothing is kept in it from here on
        self.unwrapping, self.wrapping, self.handles, self.absorbed = {}, {}, {}, {}

    def forget_version(self, version_id: bytes) -> None:
        """Drop what is known of a version, and what was derived from its material."""
        self._expected -= {version_id}
        self._ahead.pop(version_id, None)
        self.versions.pop(version_id, None)
        known: list[dict[Any, rows.KeyRow]] = [self.current, self.pinned]
        for kept in known:
            for which, row in tuple(kept.items()):
                if row.state.version_id == version_id:
                    kept.pop(which, None)
        derived: list[dict[Any, Any]] = [self.unwrapping, self.wrapping, self.absorbed]
        for made in derived:
            for which, (_, _, _, _, version, *_) in tuple(made.items()):
                if version.version_id == version_id:
                    made.pop(which, None)

    def keep(self, kept: dict[Any, Any], most: int, which: Any, what: Any) -> None:
        """Keep something in a dictionary of ours, and let the oldest go where there are many."""
        if not self.deadline:  # it ended meanwhile
            return
        if len(kept) >= most:
            for oldest in tuple(islice(kept, max(most // LET_GO, 1))):
                kept.pop(oldest, None)
        kept[which] = what


def table_now() -> Table:
    """Return an empty table; its time runs from before the bound was read. Errors as above."""
    since = uptime()
    materials.wipe_what_is_over()
    # What is derived from material does not outlive its greatest age.
    return Table(min(cache_seconds(), configuration().lifetimes.least_max_age), since)
