"""How often key versions are used, and when last: counted per day, without a write per value.

The keyring counts in memory. What it has counted goes to the database after requests that used a
key, when keys are read anew, and at the end of the process: at most once a minute, never in
somebody's transaction, and never so that an error of it reaches anybody. A process that is killed
takes what it counted since with it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Lock
from time import monotonic
from typing import Any

from django.core.signals import request_finished, request_started
from django.db import connections
from django.utils import timezone

from envelope_fields import keyring, process_end, use_rows
from envelope_fields.conf import configuration
from envelope_fields.databases import clock, transactions
from envelope_fields.models import MasterKey, MasterKeyVersion
from envelope_fields.use_rows import Day, Which, latest

FLUSH_SECONDS = 60
DOORS = ("fields", "kms")  # rotations and verifications come through another one

_logger = logging.getLogger(__name__)


class _Pending:
    """Uses that are not in the database yet, by version id, day, action and door."""

    def __init__(self) -> None:
        self.uses: dict[Which, Day] = {}
        self.database: Any = None  # where the versions are; tests change it under a process
        self.next_flush = monotonic() + FLUSH_SECONDS
        self.lock = Lock()
        self.recorded: set[bytes] = set()  # versions, on this day since 1970
        self.recorded_day = 0.0
        self.refusals_seen: dict[bytes, float] = {}  # versions, and until when

    def gather(self) -> None:
        """Take over what the keyring has counted; to be called with the lock."""
        for each in keyring.harvest():
            day = Day(
                each.used.times, _moment(each.used), each.refused.times, _moment(each.refused)
            )
            when = latest(day.used_at, day.refused_at) or timezone.now()
            which = each.version_id, when.date(), each.action, each.door
            self.uses.setdefault(which, Day()).add(day)


_pending = _Pending()


def flush() -> None:
    """Write what was counted since the last time; uses of unknown versions are dropped.

    Raises:
        DatabaseError: it could not be written, and is kept for the next time.
    """
    with _pending.lock:
        _pending.gather()
        uses, _pending.uses = _pending.uses, {}
        try:
            if uses:
                _write(uses)
        except BaseException:
            _pending.uses = uses
            raise


def last_use(row: MasterKey | MasterKeyVersion) -> datetime | None:
    """Return when a key or version was last used by fields or `kms`; None if it never was.

    To the second. Rotations and verifications do not count, nor do attempts that were refused.
    What other processes have counted is known when they have written it, within about a minute.
    """
    return to_the_second(last_sign(row, refused=False))


def last_use_by_kms(row: MasterKey | MasterKeyVersion) -> datetime | None:
    """Return the same for what `envelope_fields.kms` did, whose ciphertexts no census sees."""
    return to_the_second(last_sign(row, "kms", refused=False))


def last_sign(
    row: MasterKey | MasterKeyVersion, *doors: str, refused: bool = True
) -> datetime | None:
    """Return when a key or version was last used, or a use of it was last refused, exactly.

    Args:
        doors: through which doors; by default all of `DOORS`.
        refused: whether attempts count that the state of the version did not allow.
    """
    using = configuration().database
    versions = list(row.versions.using(using)) if isinstance(row, MasterKey) else [row]
    doors = doors or DOORS
    found = [
        use_rows.last_used(versions, using, door__in=doors),
        use_rows.last_refused(versions, using, door__in=doors) if refused else None,
    ]
    ids = {bytes(version.version_id) for version in versions}
    ahead = clock.ahead()
    with _pending.lock:
        _pending.gather()
        for (version_id, _, _, door), day in _pending.uses.items():
            if version_id in ids and door in doors:
                day = day.later(ahead)
                found += [day.used_at, day.refused_at if refused else None]
    return latest(*found)


def to_the_second(moment: datetime | None) -> datetime | None:
    """Return a moment without what is smaller than a second."""
    return moment and moment.replace(microsecond=0)


def recorded(day: float) -> set[bytes]:
    """Return the versions whose use by kms this process has recorded on a day."""
    if _pending.recorded_day != day:
        _pending.recorded, _pending.recorded_day = set(), day
    return _pending.recorded


def refusals_seen() -> dict[bytes, float]:
    """Return until when, of `monotonic`, further refusals of a version are only counted."""
    return _pending.refusals_seen


def connect() -> None:
    """Write what was counted after requests, when keys are read anew, and at the end."""
    request_started.connect(_begin_request, dispatch_uid="envelope_fields.key_uses")
    request_finished.connect(_end_request, dispatch_uid="envelope_fields.key_uses")
    keyring.on_refresh(flush_if_due)
    keyring.on_beginning(_begin)
    process_end.call(_at_exit)


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
    return connection.in_atomic_block or not transactions.autocommits(connection)


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


def _write(uses: Mapping[Which, Day]) -> None:
    use_rows.write(uses, configuration().database)


def _moment(tally: keyring.Tally) -> datetime | None:
    """Return when something was last done, as far as it was done at all."""
    if not tally.times:
        return None
    return timezone.now() - timedelta(seconds=max(monotonic() - tally.at, 0))


def _begin() -> None:
    """Prepare for the end of this process, which is about to use a key; never raises."""
    with _quietly():
        _pending.database = _database_name()
        process_end.cover()


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
