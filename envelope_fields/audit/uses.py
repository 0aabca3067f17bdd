"""How often key versions are used, and when last: counted per day, without a write per value.

The keyring counts in memory. What it has counted goes to the database after requests that used a
key, when keys are read anew, and at the end of the process: at most once a minute, and never in a
transaction of other code.

What `kms` encrypts is stored elsewhere, where no census sees it, so that it was used at all has to
survive the process. The first use of a version by a process on a day is in the database before
anything is returned; the others are counted, as those by fields are. So is the first attempt in a
minute that the state of a version refuses. In a transaction, which may be rolled back, these are
recorded in an autonomous one. On SQLite, which lets one write at a time, they are recorded in the
transaction, and go with it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from operator import itemgetter
from threading import Lock
from time import monotonic, time
from typing import Any, ClassVar

from django.db import DatabaseError, connections, models, transaction
from django.db.models import F, Max, Value, functions
from django.utils import timezone

from envelope_fields import databases, keyring
from envelope_fields.audit.write_behind import WriteBehind
from envelope_fields.conf import configuration
from envelope_fields.databases import errors, transactions
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring.age import uptime
from envelope_fields.models import KeyUse, MasterKey, MasterKeyVersion

CHANNELS = ("fields", "kms")  # rotations and verifications come through another one
WRITE_SECONDS = REFUSAL_SECONDS = 60

Which = tuple[bytes, date, str, str]  # version id, day, action and channel
_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Day:
    """How often and when last a version was used on one day, or its state did not allow it.

    Times are by the clock of the keys' database; those of what is not in the buffer yet, nor in a
    row, are as `timezone.now()` has them.
    """

    uses: int = 0
    used_at: datetime | None = None
    refused: int = 0
    refused_at: datetime | None = None

    def add(self, other: Day) -> None:
        self.uses += other.uses
        self.refused += other.refused
        self.used_at = latest(self.used_at, other.used_at)
        self.refused_at = latest(self.refused_at, other.refused_at)

    def later(self, by: timedelta) -> Day:
        """Return the same with times that are so much later."""
        used_at, refused_at = (at and at + by for at in (self.used_at, self.refused_at))
        return replace(self, used_at=used_at, refused_at=refused_at)

    def changes(self) -> dict[str, Any]:
        """Return what a row is updated with, to have this added."""
        counts = {"uses": self.uses, "refused": self.refused}
        changes: dict[str, Any] = {name: F(name) + n for name, n in counts.items() if n}
        for name, at in (("used_at", self.used_at), ("refused_at", self.refused_at)):
            if at is not None:
                # Of a NULL, MariaDB and SQLite make a NULL.
                value = Value(at, output_field=models.DateTimeField())
                changes[name] = functions.Greatest(functions.Coalesce(F(name), value), value)
        return changes


def latest(*moments: datetime | None) -> datetime | None:
    """Return the latest of some moments, of which each may be missing."""
    return max((moment for moment in moments if moment is not None), default=None)


class _Uses(WriteBehind):
    """Uses that are not in the database yet."""

    SECONDS: ClassVar = WRITE_SECONDS
    FAILED: ClassVar = "Uses of keys could not be written yet: %s"

    def clear(self) -> None:
        super().clear()
        self.is_empty = False  # the keyring counts, and does not say when
        self.lock = Lock()
        self.days: dict[Which, Day] = {}
        self._counted: list[keyring.uses.Harvest] = []  # and is not among the days yet
        self.recorded: dict[bytes, float] = {}  # versions, and the day since 1970
        self.refusals_seen: dict[bytes, float] = {}  # versions, and until when

    def gather(self) -> dict[Which, Day]:
        """Take over what the keyring has counted; to be called with the lock.

        How far the clock of the database is ahead is asked once for each use: no two answers are
        the same, and a confirmation quotes the last use to the second.
        """
        self._counted += keyring.uses.harvest()
        ahead = databases.ahead() if self._counted else timedelta()
        for each in self._counted:
            used, refused = each.used, each.refused
            day = Day(used.times, _moment(used), refused.times, _moment(refused))
            when = latest(day.used_at, day.refused_at) or timezone.now()
            which = each.version_id, when.date(), each.action, each.channel
            self.days.setdefault(which, Day()).add(day.later(ahead))
        self._counted = []
        return self.days

    def is_waiting(self, *, last: bool = False) -> bool:
        return not self.lock.locked()

    def write(self, using: str) -> None:
        with self.lock:
            if self.gather():
                with transactions.waiting_briefly(using):
                    write(self.days, using)
                self.days = {}


def _moment(counted: keyring.uses.UseCount) -> datetime | None:
    """Return when something was last done, as far as it was done at all."""
    if not counted.times:
        return None
    return timezone.now() - timedelta(seconds=max(uptime() - counted.at, 0))


buffer = _Uses(_logger, keyring.this_thread)


def connect() -> None:
    """Write what was counted when there is time, and record what is refused."""
    keyring.uses.on_first_use(buffer.belongs_here)
    keyring.uses.on_refused(_record_refused)
    buffer.connect()


def flush() -> None:
    """Write what was counted since the last time; what a database did not take is kept."""
    buffer.write(configuration().database)


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
    row: MasterKey | MasterKeyVersion, *channels: str, refused: bool = True
) -> datetime | None:
    """Return when a key or version was last used, or a use of it was last refused, exactly.

    Through some channels, or all of `CHANNELS`; with what was `refused`, where that is to count.
    """
    using = configuration().database
    versions = list(row.versions.using(using)) if isinstance(row, MasterKey) else [row]
    channels = channels or CHANNELS
    stored = KeyUse.objects.using(using).filter(version__in=versions, channel__in=channels)
    rows = stored.aggregate(used=Max("used_at"), refused=Max("refused_at"))
    found = [rows["used"], rows["refused"] if refused else None]
    ids = {bytes(version.version_id) for version in versions}
    with buffer.lock:
        for (version_id, _, _, channel), day in buffer.gather().items():
            if version_id in ids and channel in channels:
                found += [day.used_at, day.refused_at if refused else None]
    return latest(*found)


def to_the_second(moment: datetime | None) -> datetime | None:
    """Return a moment without what is smaller than a second."""
    return moment and moment.replace(microsecond=0)


def write(days: Mapping[Which, Day], using: str) -> bool:
    """Add to the rows, all or none, and return whether all the versions are there."""
    ids = {version_id for version_id, *_ in days}
    versions = MasterKeyVersion.objects.using(using).filter(version_id__in=ids)
    pks = {bytes(version_id): pk for pk, version_id in versions.values_list("pk", "version_id")}
    rows = [  # in one order, so that two processes never wait for each other
        ({"version_id": pks[version_id], "day": day, "action": action, "channel": channel}, added)
        for (version_id, day, action, channel), added in sorted(days.items(), key=itemgetter(0))
        if version_id in pks
    ]
    _make([names for names, _ in rows], using)
    with transaction.atomic(using=using):
        if connections[using].features.has_select_for_update:
            transactions.see_the_present(using)
        for names, added in rows:
            KeyUse.objects.using(using).filter(**names).update(**added.changes())
    return ids == set(pks)


def _make(wanted: list[dict[str, Any]], using: str) -> None:
    """Make the rows that are not there yet, outside of the transaction that changes them.

    On MariaDB, two processes that meet in a row that they make would wait for each other there.
    """
    table = KeyUse.objects.using(using)
    there = table.filter(version__in={names["version_id"] for names in wanted})
    there = there.filter(day__in={names["day"] for names in wanted})
    known = set(there.values_list("version_id", "day", "action", "channel"))
    missing = [KeyUse(**names) for names in wanted if tuple(names.values()) not in known]
    if missing:
        table.bulk_create(missing, ignore_conflicts=True)


def record(version_id: bytes, purpose: keyring.Purpose) -> None:
    """Record a use by `kms`, unless one of this day by this process is recorded already.

    Raises:
        MasterKeyUnusable: it could not be recorded.
    """
    today = time() // 86_400
    if buffer.recorded.get(version_id) == today:
        return
    using = configuration().database
    try:
        if _written(_now(version_id, purpose, "used_at"), using):
            buffer.recorded[version_id] = today
    except DatabaseError as error:
        if errors.says_no_table(error) or errors.says_no_column(error):
            return  # a migration that comes before ours: it is counted, and written later
        raise MasterKeyUnusable(
            f"The first use by kms of key version {version_id.hex()} on this day could not be "
            f"recorded in the database {using!r} ({type(error).__name__}). Nothing is given out "
            "that would be unknown when the key is deleted: try again."
        ) from error


def _written(days: dict[Which, Day], using: str) -> bool:
    """Write, and return whether that is committed."""
    if transactions.in_transaction(using) and transactions.has_autonomous(using):
        try:
            if transactions.autonomous(lambda: _write_past_the_buffer(days, using), using):
                return True
        except DatabaseError as error:  # such as a lock that this very transaction holds
            _logger.info("The use of a key is recorded in its transaction: %s", error)
    _write_past_the_buffer(days, using)
    return not connections[using].in_atomic_block


def _record_refused(version_id: bytes, purpose: keyring.Purpose) -> None:
    """Record an attempt that was refused, where that is possible at once; never raises."""
    seen = buffer.refusals_seen
    if purpose.channel not in CHANNELS or monotonic() < seen.get(version_id, 0):
        return
    seen[version_id] = monotonic() + REFUSAL_SECONDS
    days = _now(version_id, purpose, "refused_at")
    try:
        using = configuration().database
        if not transactions.in_transaction(using):
            with transactions.waiting_briefly(using):
                _write_past_the_buffer(days, using)
        elif transactions.has_autonomous(using):
            transactions.autonomous(lambda: _write_past_the_buffer(days, using), using)
    except Exception as error:  # the refusal itself is what the caller has to see
        _logger.warning("A refused use could not be recorded yet: %s", type(error).__name__)


def _write_past_the_buffer(days: Mapping[Which, Day], using: str) -> bool:
    ahead = databases.ahead()
    return write({which: day.later(ahead) for which, day in days.items()}, using)


def _now(version_id: bytes, purpose: keyring.Purpose, name: str) -> dict[Which, Day]:
    now = timezone.now()
    which = version_id, now.date(), str(purpose.action), purpose.channel
    return {which: Day(**{name: now})}  # type: ignore[arg-type]  # by the name of a time
