"""Deletion with a waiting period, which can be cancelled (KMS: ScheduleKeyDeletion)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from envelope_fields.exceptions import EnvelopeError, MasterKeyUnusable
from envelope_fields.key_uses import last_use_by_kms
from envelope_fields.lifecycle.acts import Doing, doing, state_of
from envelope_fields.lifecycle.confirmation import check_kms_use
from envelope_fields.lifecycle.locking import KeyOrVersion
from envelope_fields.lifecycle.occupancy import KeyInUse, values_under
from envelope_fields.lifecycle.transitions import Act, named, state_after
from envelope_fields.models import KeyState

SHORTEST_WAIT, LONGEST_WAIT = 7, 30  # days; KMS: PendingWindowInDays


class BadWaitingPeriod(EnvelopeError, ValueError):
    """The waiting period of a deletion is not 7 to 30 days."""


def schedule_deletion(
    key: KeyOrVersion, days: int = LONGEST_WAIT, *, confirm: str | None = None, actor: Any = None
) -> datetime:
    """Make a key, or a version that is not current, unusable now, and destroy it after a while.

    Until then it can be cancelled, which leaves it disabled. What other processes write under it
    within `KEY_CACHE_SECONDS` is found by the count that `destroy_due_keys` makes at the end; a use
    by `kms` that they had not told of yet stops it as well, unless it was confirmed.
    Scheduling it again with the same days changes nothing; with other days it is refused.
    (KMS: ScheduleKeyDeletion.)

    Args:
        key: a master key, its id, its alias, or a `MasterKeyVersion`.
        days: how long to wait, 7 to 30.
        confirm: the key's alias, or its id where it has none: says that what `kms` gave out under
            it may be lost. Needed where there was such a use.
        actor: as for `create_master_key`.

    Returns:
        From when on `destroy_due_keys` destroys it.

    Raises:
        BadWaitingPeriod: not 7 to 30 days.
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: the state does not allow it, or the version is the current one.
        KeyAccessDenied: the actor may not.
        KeyInUse: values are stored under it.
        CensusFailed: that could not be counted.
        ConfirmationRequired: `kms` gave out data under it, or `confirm` names another key.
    """
    if type(days) is not int or not SHORTEST_WAIT <= days <= LONGEST_WAIT:
        raise BadWaitingPeriod(
            f"A deletion waits {SHORTEST_WAIT} to {LONGEST_WAIT} whole days, not {days!r}."
        )
    wait = timedelta(days=days)
    with doing(Act.SCHEDULE_DELETION, key, actor) as done:
        if state_after(Act.SCHEDULE_DELETION, done.row) == done.row.state:
            _refuse_other_date(done, wait)
        else:
            _schedule(done, wait, confirm)
        due = done.row.deletion_at
    assert due is not None  # noqa: S101 - both ways set it or found it
    return due


def cancel_deletion(key: KeyOrVersion, *, actor: Any = None) -> None:
    """Take a deletion back, which leaves the key or version disabled (KMS: CancelKeyDeletion).

    Doing it twice does nothing. Arguments and errors are those of `disable`.
    """
    with doing(Act.CANCEL_DELETION, key, actor) as done:
        to = state_after(Act.CANCEL_DELETION, done.row)
        if to != done.row.state:
            before = state_of(done.row)
            done.become(to)
            done.record(Act.CANCEL_DELETION, before, state_of(done.row))


def _schedule(done: Doing, wait: timedelta, confirm: str | None) -> None:
    check_kms_use(confirm, done.row, last_use_by_kms(done.row))
    before = state_of(done.row)
    # The state first, then the count: what this process writes meanwhile is refused already.
    done.become(KeyState.PENDING_DELETION, wait=wait)
    found = values_under(done.row)
    if found:
        raise KeyInUse(done.row, found)
    said = {} if confirm is None else {"confirmed": confirm}
    done.record(Act.SCHEDULE_DELETION, before, {**state_of(done.row), **said})


def _refuse_other_date(done: Doing, wait: timedelta) -> None:
    row = done.row
    if row.deletion_at != row.state_changed_at + wait:
        raise MasterKeyUnusable(
            f"The deletion of {named(row)} is scheduled already, for {row.deletion_at:%Y-%m-%d}. "
            "Cancel it before you schedule it anew."
        )
