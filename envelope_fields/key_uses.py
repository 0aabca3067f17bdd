"""How often key versions are used, and when last: counted per day, without a write per value.

The keyring counts in memory. What it has counted goes to the database after requests that used a
key, when keys are read anew, and at the end of the process: at most once a minute, never in
somebody's transaction, and never so that an error of it reaches anybody. A process that is killed
takes what it counted since with it.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from threading import Lock
from time import monotonic
from typing import Any

from django.core.signals import request_finished, request_started
from django.db import connections, transaction
from django.db.models import F
from django.utils import timezone

from envelope_fields import keyring, own_connection
from envelope_fields.conf import configuration
from envelope_fields.models import KeyUse, MasterKey, MasterKeyVersion

FLUSH_SECONDS = 60

_logger = logging.getLogger(__name__)


class _Pending:
    """Uses that are not in the database yet, by version id, day, action and door."""

    def __init__(self) -> None:
        self.uses: Counter[tuple[bytes, date, str, str]] = Counter()
        self.database: Any = None  # where the versions are; tests change it under a process
        self.next_flush = monotonic() + FLUSH_SECONDS
        self.lock = Lock()

    def gather(self) -> None:
        """Take over what the keyring has counted; to be called with the lock."""
        today = timezone.now().date()
        for (version_id, action, door), uses in keyring.harvest_uses().items():
            self.uses[version_id, today, action, door] += uses


_pending = _Pending()


def flush() -> None:
    """Write what was counted since the last time; uses of unknown versions are dropped.

    Raises:
        DatabaseError: it could not be written, and is kept for the next time.
    """
    with _pending.lock:
        _pending.gather()
        uses, _pending.uses = _pending.uses, Counter()
        try:
            if uses:
                _write(uses)
        except BaseException:
            _pending.uses = uses
            raise


def last_use(row: MasterKey | MasterKeyVersion) -> date | None:
    """Return the day (in UTC) on which a key or version was last used; None if it never was.

    What other processes have counted is known when they have written it, within about a minute.
    """
    return _last_use(row)


def last_use_by_kms(row: MasterKey | MasterKeyVersion) -> date | None:
    """Return the same for what `envelope_fields.kms` did, whose ciphertexts no census sees."""
    return _last_use(row, door="kms")


def connect() -> None:
    """Write what was counted after requests, when keys are read anew, and at the end."""
    request_started.connect(_begin_request, dispatch_uid="envelope_fields.key_uses")
    request_finished.connect(_end_request, dispatch_uid="envelope_fields.key_uses")
    keyring.on_refresh(flush_if_due)
    atexit.register(_at_exit)


def flush_if_due() -> None:
    """Flush once in a while, where that disturbs nobody; never raises."""
    with _quietly():
        _pending.database = _database_name()
        if monotonic() < _pending.next_flush or _pending.lock.locked() or _in_transaction():
            return
        _pending.next_flush = monotonic() + FLUSH_SECONDS
        _flush_and_close()


def _begin_request(**_: Any) -> None:
    keyring.here.came = False


def _end_request(**_: Any) -> None:
    """Flush after a request that used a key: others may have nothing to do with a database."""
    if keyring.here.came:
        keyring.here.came = False
        flush_if_due()


def _in_transaction() -> bool:
    """Whether what this thread writes to the keys' database would not be committed at once."""
    connection = connections[configuration().database]
    return connection.in_atomic_block or not own_connection.autocommits(connection)


def _flush_and_close() -> None:
    """Flush, and leave no connection open that was not open before."""
    connection = connections[configuration().database]
    was_closed = connection.connection is None
    try:
        flush()
    finally:
        if was_closed:
            connection.close()


@contextmanager
def _quietly() -> Iterator[None]:
    """Log whatever goes wrong, and no more: it would be the answer to somebody's request.

    Beside errors of databases, there are those of settings, and of tests that allow no database.
    """
    try:
        yield
    except Exception as error:
        _logger.warning("Uses of keys could not be written yet: %s", type(error).__name__)


def _write(uses: Counter[tuple[bytes, date, str, str]]) -> None:
    using = configuration().database
    versions = MasterKeyVersion.objects.using(using).filter(
        version_id__in={version_id for version_id, *_ in uses}
    )
    pks = {bytes(version_id): pk for pk, version_id in versions.values_list("pk", "version_id")}
    rows = [
        KeyUse(version_id=pks[version_id], day=day, action=action, door=door, uses=count)
        for (version_id, day, action, door), count in sorted(uses.items())
        if version_id in pks
    ]
    table = KeyUse.objects.using(using)
    with transaction.atomic(using=using):
        empty = [KeyUse(**{**_names(row), "uses": 0}) for row in rows]
        table.bulk_create(empty, ignore_conflicts=True)
        for row in rows:  # in one order, so that two processes never wait for each other
            table.filter(**_names(row)).update(uses=F("uses") + row.uses)


def _names(row: KeyUse) -> dict[str, Any]:
    return {
        "version_id": row.version_id,
        "day": row.day,
        "action": row.action,
        "door": row.door,
    }


def _last_use(row: MasterKey | MasterKeyVersion, **which: str) -> date | None:
    using = configuration().database
    versions = list(row.versions.using(using)) if isinstance(row, MasterKey) else [row]
    written = KeyUse.objects.using(using).filter(version__in=versions, **which)
    days = list(written.order_by("-day").values_list("day", flat=True)[:1])
    ids = {bytes(version.version_id) for version in versions}
    with _pending.lock:
        _pending.gather()
        days += [
            day
            for version_id, day, _, door in _pending.uses
            if version_id in ids and door == which.get("door", door)
        ]
    return max(days, default=None)


def _at_exit() -> None:
    """Write what is left, unless the settings now name another database, as after tests."""
    with _quietly():
        if _pending.database is not None and _pending.database == _database_name():
            _flush_and_close()


def _database_name() -> Any:
    return connections[configuration().database].settings_dict["NAME"]


def _after_fork() -> None:
    """What the parent counted is the parent's to write."""
    global _pending
    _pending = _Pending()


os.register_at_fork(after_in_child=_after_fork)
