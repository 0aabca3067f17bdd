"""Uses that are in the database before anything is returned: no census sees what came of them.

What `kms` encrypts is stored elsewhere, so that it was used at all has to survive the process. The
first use of a version by a process on a day is recorded at once; the others are counted, as those
by fields are. So is the first attempt in a minute that the state of a version refuses.

In a transaction, which may be rolled back, it is recorded on a connection of its own. On SQLite,
which lets one write at a time, it is recorded in the transaction, and goes with it.
"""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from time import monotonic, time

from django.db import DatabaseError, connections
from django.utils import timezone

from envelope_fields import key_uses, keyring, use_rows
from envelope_fields.conf import configuration
from envelope_fields.databases import transactions
from envelope_fields.databases.errors import says_no_column, says_no_table
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import Errand
from envelope_fields.use_rows import Day, Which

REFUSAL_SECONDS = 60
_SECONDS_OF_DAY = 86_400

_logger = logging.getLogger(__name__)


def connect() -> None:
    """Listen to what the state of versions refuses."""
    keyring.on_refused(_note_refused)


def record(version_id: bytes, errand: Errand) -> None:
    """Record a use by `kms`, unless one of this day by this process is recorded already.

    Raises:
        MasterKeyUnusable: it could not be recorded.
    """
    recorded = key_uses.recorded(time() // _SECONDS_OF_DAY)
    if version_id in recorded:
        return
    using = configuration().database
    now = timezone.now()
    days = {_which(version_id, errand, now): Day(used_at=now)}
    try:
        if _written(days, using):
            recorded.add(version_id)
    except DatabaseError as error:
        if says_no_table(error) or says_no_column(error):
            return  # a migration that comes before ours: it is counted, and written later
        raise MasterKeyUnusable(
            f"The first use by kms of key version {version_id.hex()} on this day could not be "
            f"recorded in the database {using!r} ({type(error).__name__}). Nothing is given out "
            "that nobody would know of when the key is deleted: try again."
        ) from error


def _written(days: dict[Which, Day], using: str) -> bool:
    """Write, and return whether that is committed."""
    if transactions.in_transaction(using) and transactions.has_autonomous(using):
        try:
            if transactions.autonomous(partial(use_rows.write, days, using), using):
                return True
        except DatabaseError as error:  # such as a lock that this very transaction holds
            _logger.info("The use of a key is recorded in its transaction: %s", error)
    use_rows.write(days, using)
    return not connections[using].in_atomic_block


def _note_refused(version_id: bytes, errand: Errand) -> None:
    """Record an attempt that was refused, where that is possible at once; never raises."""
    seen = key_uses.refusals_seen()
    if errand.door not in key_uses.DOORS or monotonic() < seen.get(version_id, 0):
        return
    seen[version_id] = monotonic() + REFUSAL_SECONDS
    now = timezone.now()
    days = {_which(version_id, errand, now): Day(refused_at=now)}
    try:
        using = configuration().database
        if not transactions.in_transaction(using):
            use_rows.write(days, using)
        elif transactions.has_autonomous(using):
            transactions.autonomous(partial(use_rows.write, days, using), using)
    except Exception as error:  # the refusal itself is what the caller has to hear
        _logger.warning("A refused use could not be recorded yet: %s", type(error).__name__)


def _which(version_id: bytes, errand: Errand, now: datetime) -> Which:
    return version_id, now.date(), str(errand.action), errand.door
