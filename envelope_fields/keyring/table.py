"""What a process knows of keys, as of one moment, and for how long it may go by that.

A key that is shredded must not be written under any more, so its shredder waits until no process
can go by what it knew before. Each has a `KEY_CACHE_SECONDS` of its own; the bound of them all is a
row in the keys' database. A process that starts with more raises it first, and each goes by the
bound where that is less. Lowering it is an act of `envelope_fields.lifecycle`.
"""

import logging
from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from django.db import DatabaseError, connections, transaction

from envelope_fields.conf import configuration
from envelope_fields.crypto.envelope import WrappingKey
from envelope_fields.databases import transactions
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import materials, rows
from envelope_fields.keyring.age import uptime
from envelope_fields.keyring.index_rows import IndexRow
from envelope_fields.keyring.uses import Purpose, Serving, Uses, counted
from envelope_fields.models import KeyCacheBound
from envelope_fields.policy import KeyVersionState, decisions
from envelope_fields.policy.data import PolicyData

BOUND = 1  # the row
WRAPS_PER_PREFIX = 4096  # docs/spec/envelope-v1.md, "Nonce"
UNWRAPPING_KEYS = WRAPPING_KEYS = 4096  # about 2 kB each
HANDLES = 16384
ABSORBED = 4096
LET_GO = 64  # the part of what is kept that goes at once

_logger = logging.getLogger(__name__)

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
        "absorbed", "current", "deadline", "half_life", "handles", "indexes", "is_of_transaction",
        "pinned", "policy_data", "unwrapping", "versions", "wrapping",
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
        # The versions of search keys that indexes are pinned to.
        self.pinned: dict[tuple[str, str | UUID], rows.KeyRow] = {}

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


_raised_to: float | None = None  # the setting of this process, once the bound covers it


def cache_seconds() -> float:
    """Return how long what is read of keys from now on may be gone by.

    Raises:
        MasterKeyUnusable: the keys' database could not be read, or has no number there.
    """
    wanted = configuration().key_cache_seconds
    if not wanted:
        return wanted
    using = configuration().database
    with rows.explained(using):
        bound = _read(using)
        if bound is None or (bound < wanted and _raised_to != wanted):
            bound = _raise(using, wanted, bound or 0)
    return min(wanted, bound)


def table_now() -> Table:
    """Return an empty table; its time runs from before the bound was read. Errors as above."""
    since = uptime()
    materials.wipe_what_is_over()
    # What is derived from material does not outlive its greatest age.
    return Table(min(cache_seconds(), configuration().lifetimes.least_max_age), since)


def _read(using: str) -> float | None:
    bounds = KeyCacheBound.objects.using(using).filter(pk=BOUND)
    found = bounds.values_list("seconds", flat=True).first()
    if found is None or isinstance(found, float):
        return found
    raise MasterKeyUnusable(
        f"The bound of key caches in the database {using!r} is no number: set `seconds` of its "
        "one row, a KeyCacheBound, to the longest KEY_CACHE_SECONDS of any process."
    )


def _raise(using: str, seconds: float, bound: float) -> float:
    """Raise the bound to `seconds` if that is possible, and return what may be relied on now."""
    try:
        if transactions.in_transaction(using) and not transactions.in_test(using):
            if not transactions.has_autonomous(using):
                _raise_after(using, seconds)
                return bound
            transactions.autonomous(partial(_write, using, seconds), using)
        else:
            _write(using, seconds)
    except DatabaseError as error:  # what was read before may still be relied on
        _logger.warning("The bound of key caches was not raised: %s", type(error).__name__)
        return bound
    return seconds


def _raise_after(using: str, seconds: float) -> None:
    """Raise the bound after this transaction, which on SQLite has the only lock there is."""
    hooks: list[Any] = connections[using].run_on_commit
    if not any(getattr(hook, "func", None) is _write for _, hook, *_ in hooks):
        transaction.on_commit(partial(_write, using, seconds), using=using, robust=True)


def _write(using: str, seconds: float) -> None:
    global _raised_to
    bounds = KeyCacheBound.objects.using(using)
    # Not in one transaction: on MariaDB, two processes would wait for each other.
    bounds.bulk_create([KeyCacheBound(pk=BOUND, seconds=seconds)], ignore_conflicts=True)
    bounds.filter(pk=BOUND, seconds__lt=seconds).update(seconds=seconds)
    _raised_to = seconds
