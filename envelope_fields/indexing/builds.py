"""Builds in other processes: a step waits until none of them uses what was before it."""

import time
from datetime import datetime

from envelope_fields.databases import clock
from envelope_fields.exceptions import IndexNotReady
from envelope_fields.lifecycle.other_processes import known_everywhere, wait_for_older
from envelope_fields.models import BlindIndex, IndexState

WAIT_SECONDS = 60  # for transactions


def last_change(row: BlindIndex) -> datetime | None:
    """Return from when on no build may run that does not write an index; None where one still may.

    Those that write the one that it replaces are refused since then. Others cannot be: from when
    the index is verified on, they have their time to show what they write.
    """
    is_verified = row.state == IndexState.VERIFIED
    return row.required_at or (row.state_changed_at if is_verified else None)


def wait_until_known(label: str, changed_at: datetime, seconds: float = WAIT_SECONDS) -> list[str]:
    """Wait until every process knows of a change of an index, and has ended what it began before.

    That takes the longest `KEY_CACHE_SECONDS` of any process, less the time that has passed since,
    and as long as transactions last that are older.

    Args:
        label: of the index, for the error.
        changed_at: when it was changed.
        seconds: for how many to wait for transactions.

    Returns:
        Of databases that do not show whether transactions are open, their aliases and why.

    Raises:
        IndexNotReady: a transaction does not end.
    """
    return wait_until(label, known_everywhere(changed_at), seconds)


def wait_until(label: str, known: datetime, seconds: float = WAIT_SECONDS) -> list[str]:
    """Do what `wait_until_known` does, for a moment from which on everything is known."""
    time.sleep(max((known - clock.now()).total_seconds(), 0))
    waited = wait_for_older(lambda: (clock.now() - known).total_seconds(), seconds)
    if waited.still_open:
        open_in = ", ".join(map(str, waited.still_open))
        raise IndexNotReady(
            f"The blind index {label} does not go on yet: transactions are open that may write it "
            f"as it was before: {open_in}. Run this again when they have ended."
        )
    return [f"{each.database}: {each.reason}" for each in waited.unseen]
