"""For how long this process may go by what it reads of keys, and how the others know.

A key that is shredded must not be written under any more, so its shredder waits until no process
can go by what it knew before. Each has a `KEY_CACHE_SECONDS` of its own; the bound of them all is a
row in the keys' database. A process that starts with more raises it first, and each goes by the
bound where that is less. Lowering it is an act of `envelope_fields.lifecycle`.
"""

import logging
from functools import partial
from time import monotonic
from typing import Any

from django.db import DatabaseError, connections, transaction

from envelope_fields.conf import configuration
from envelope_fields.databases import transactions
from envelope_fields.keyring.rows import explained
from envelope_fields.keyring.table import Table
from envelope_fields.models import KeyCacheBound

BOUND = 1

_logger = logging.getLogger(__name__)


class _OfProcess:
    """What this process has said of itself."""

    raised_to: float | None = None  # its setting, once the bound is known to cover it


_process = _OfProcess()


def cache_seconds() -> float:
    """Return how long what is read of keys from now on may be gone by.

    Raises:
        MasterKeyUnusable: the keys' database could not be read.
    """
    wanted = configuration().key_cache_seconds
    if not wanted:
        return wanted
    using = configuration().database
    with explained(using):
        bound = _read(using)
        if bound is None or (bound < wanted and _process.raised_to != wanted):
            bound = _raise(using, wanted, bound or 0)
    return min(wanted, bound)


def table_now() -> Table:
    """Return an empty table; its time runs from before the bound was read. Errors as above."""
    since = monotonic()
    return Table(cache_seconds(), since)


def _read(using: str) -> float | None:
    rows = KeyCacheBound.objects.using(using).filter(pk=BOUND)
    return rows.values_list("seconds", flat=True).first()


def _raise(using: str, seconds: float, bound: float) -> float:
    """Raise the bound to `seconds` if that is possible, and return what may be relied on now."""
    try:
        if transactions.in_transaction(using) and not _is_test(using):
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
    rows = KeyCacheBound.objects.using(using)
    # Not in one transaction: on MariaDB, two processes would wait for each other.
    rows.bulk_create([KeyCacheBound(pk=BOUND, seconds=seconds)], ignore_conflicts=True)
    rows.filter(pk=BOUND, seconds__lt=seconds).update(seconds=seconds)
    _process.raised_to = seconds


def _is_test(using: str) -> bool:
    blocks: list[Any] = connections[using].atomic_blocks
    return any(block._from_testcase for block in blocks)
