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

import logging
from datetime import datetime, timedelta
from threading import Lock
from time import monotonic, time
from typing import ClassVar

from django.db import DatabaseError, connections
from django.utils import timezone

from envelope_fields import keyring
from envelope_fields.audit import use_rows
from envelope_fields.audit.use_rows import Day, Which, latest
from envelope_fields.audit.write_behind import WriteBehind
from envelope_fields.conf import configuration
from envelope_fields.databases import clock, transactions
from envelope_fields.databases.errors import says_no_column, says_no_table
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import Purpose
from envelope_fields.models import MasterKey, MasterKeyVersion

CHANNELS = ("fields", "kms")  # rotations and verifications come through another one
WRITE_SECONDS = REFUSAL_SECONDS = 60
_SECONDS_OF_DAY = 86_400

_logger = logging.getLogger(__name__)


class _Uses(WriteBehind):
    """Uses that are not in the database yet, by version id, day, action and channel."""

    SECONDS: ClassVar = WRITE_SECONDS
    FAILED: ClassVar = "Uses of keys could not be written yet: %s"

    def clear(self) -> None:
        super().clear()
        self.due_at = monotonic() + WRITE_SECONDS
        self.is_empty = False  # the keyring counts, and does not say when
        self.lock = Lock()
        self.days: dict[Which, Day] = {}
        self.recorded: set[bytes] = set()  # versions, on this day since 1970
        self.recorded_day = 0.0
        self.refusals_seen: dict[bytes, float] = {}  # versions, and until when

    def gather(self) -> dict[Which, Day]:
        """Take over what the keyring has counted; to be called with the lock."""
        for each in keyring.harvest():
            day = Day(
                each.used.times, _moment(each.used), each.refused.times, _moment(each.refused)
            )
            when = latest(day.used_at, day.refused_at) or timezone.now()
            which = each.version_id, when.date(), each.action, each.channel
            self.days.setdefault(which, Day()).add(day)
        return self.days

    def is_waiting(self, *, last: bool = False) -> bool:
        return not self.lock.locked()

    def may_write(self, using: str) -> bool:
        connection = connections[using]
        return not connection.in_atomic_block and transactions.autocommits(connection)

    def write(self, using: str) -> None:
        with self.lock:
            days, self.days = self.gather(), {}
            try:
                if days:
                    use_rows.write(days, using)
            except BaseException:
                self.days = days
                raise

    def recorded_on(self, day: float) -> set[bytes]:
        """Return the versions whose use by kms this process has recorded on a day."""
        if self.recorded_day != day:
            self.recorded, self.recorded_day = set(), day
        return self.recorded


buffer = _Uses(_logger, keyring.here)


def connect() -> None:
    """Write what was counted when there is time, and record what is refused."""
    keyring.on_first_use(buffer.belongs_here)
    keyring.on_refused(_record_refused)
    buffer.connect()


def flush() -> None:
    """Write what was counted since the last time; uses of unknown versions are dropped.

    Raises:
        DatabaseError: it could not be written, and is kept for the next time.
    """
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

    Args:
        row: the key or version.
        channels: through which channels; by default all of `CHANNELS`.
        refused: whether attempts count that the state of the version did not allow.
    """
    using = configuration().database
    versions = list(row.versions.using(using)) if isinstance(row, MasterKey) else [row]
    channels = channels or CHANNELS
    found = [
        use_rows.last_used(versions, using, channel__in=channels),
        use_rows.last_refused(versions, using, channel__in=channels) if refused else None,
    ]
    ids = {bytes(version.version_id) for version in versions}
    ahead = clock.ahead()
    with buffer.lock:
        for (version_id, _, _, channel), day in buffer.gather().items():
            if version_id in ids and channel in channels:
                day = day.later(ahead)
                found += [day.used_at, day.refused_at if refused else None]
    return latest(*found)


def to_the_second(moment: datetime | None) -> datetime | None:
    """Return a moment without what is smaller than a second."""
    return moment and moment.replace(microsecond=0)


def record(version_id: bytes, purpose: Purpose) -> None:
    """Record a use by `kms`, unless one of this day by this process is recorded already.

    Raises:
        MasterKeyUnusable: it could not be recorded.
    """
    recorded = buffer.recorded_on(time() // _SECONDS_OF_DAY)
    if version_id in recorded:
        return
    using = configuration().database
    now = timezone.now()
    days = {_which(version_id, purpose, now): Day(used_at=now)}
    try:
        if _written(days, using):
            recorded.add(version_id)
    except DatabaseError as error:
        if says_no_table(error) or says_no_column(error):
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
            if transactions.autonomous(lambda: use_rows.write(days, using), using):
                return True
        except DatabaseError as error:  # such as a lock that this very transaction holds
            _logger.info("The use of a key is recorded in its transaction: %s", error)
    use_rows.write(days, using)
    return not connections[using].in_atomic_block


def _record_refused(version_id: bytes, purpose: Purpose) -> None:
    """Record an attempt that was refused, where that is possible at once; never raises."""
    seen = buffer.refusals_seen
    if purpose.channel not in CHANNELS or monotonic() < seen.get(version_id, 0):
        return
    seen[version_id] = monotonic() + REFUSAL_SECONDS
    now = timezone.now()
    days = {_which(version_id, purpose, now): Day(refused_at=now)}
    try:
        using = configuration().database
        if not transactions.in_transaction(using):
            use_rows.write(days, using)
        elif transactions.has_autonomous(using):
            transactions.autonomous(lambda: use_rows.write(days, using), using)
    except Exception as error:  # the refusal itself is what the caller has to see
        _logger.warning("A refused use could not be recorded yet: %s", type(error).__name__)


def _which(version_id: bytes, purpose: Purpose, now: datetime) -> Which:
    return version_id, now.date(), str(purpose.action), purpose.channel


def _moment(counted: keyring.UseCount) -> datetime | None:
    """Return when something was last done, as far as it was done at all."""
    if not counted.times:
        return None
    return timezone.now() - timedelta(seconds=max(monotonic() - counted.at, 0))
