"""Deletion with a waiting period, which can be cancelled (KMS: ScheduleKeyDeletion)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from datetime import datetime, timedelta
from typing import Any

from envelope_fields.audit.uses import last_use_by_kms
from envelope_fields.exceptions import EnvelopeError, MasterKeyUnusable
from envelope_fields.lifecycle.certificates import check_quoted
from envelope_fields.lifecycle.context import (
    OperationContext,
    expecting,
    performing,
    refuse_transaction_around,
    update_known,
)
from envelope_fields.lifecycle.keys import KeyOrVersion
from envelope_fields.lifecycle.operations import Operation, performs, state_after
from envelope_fields.lifecycle.parameters import LONGEST_WAIT, SHORTEST_WAIT
from envelope_fields.lifecycle.representation import Row, named, state_content
from envelope_fields.lifecycle.witnesses import KeyInUse, uncounted_now, values_under, witnesses_of
from envelope_fields.models import KeyState


class BadWaitingPeriod(EnvelopeError, ValueError):
    """The waiting period of a deletion is not 7 to 30 days."""


@performs(Operation.SCHEDULE_DELETION)
def schedule_deletion(
    key: KeyOrVersion, days: int = LONGEST_WAIT, *, confirm: str | None = None, actor: Any = None
) -> datetime:
    """Make a key, or a version that is not current, unusable now, and destroy it after a while.

    Until then it can be cancelled, which leaves it disabled. First it becomes unusable, so that
    nothing new comes under it; then values are counted, under no lock; and where there are some, or
    a confirmation lacks, it is put back to what it was. What other processes write under it
    within `KEY_CACHE_SECONDS` is found by the count that `destroy_due_keys` makes at the end; a use
    that is later than the confirmation, also one that was refused, stops it as well.
    Scheduling it again with the same days changes nothing; with other days it is refused.
    (KMS: ScheduleKeyDeletion.)

    Args:
        key: a master key, its id, its alias, or a `MasterKeyVersion`.
        days: how long to wait, 7 to 30.
        confirm: says that what no count sees may be lost, quoting the last use, as
            `ConfirmationRequired.expected` does: `alias@2026-11-28T02:13:05Z`. Needed where `kms`
            used the key, where copies of values are stored as text, and where something could not
            be counted.
        actor: as for `create_master_key`.

    Returns:
        From when on `destroy_due_keys` destroys it.

    Raises:
        BadWaitingPeriod: not 7 to 30 days.
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: the state does not allow it, the version is the current one, another user
            changed the state before the confirmation was recorded, or a transaction is open that
            could take the first step back.
        KeyAccessDenied: the actor may not.
        KeyInUse: values are stored under it.
        CensusFailed: that could not be counted.
        ConfirmationRequired: it has to be confirmed, or `confirm` names another key or use.
    """
    if type(days) is not int or not SHORTEST_WAIT <= days <= LONGEST_WAIT:
        raise BadWaitingPeriod(
            f"A deletion waits {SHORTEST_WAIT} to {LONGEST_WAIT} whole days, not {days!r}."
        )
    refuse_transaction_around("schedule the deletion of a key")
    wait = timedelta(days=days)
    with performing(Operation.SCHEDULE_DELETION, key, actor) as done:
        if state_after(Operation.SCHEDULE_DELETION, done.row) == done.row.state:
            return _same_date(done, wait)
        before = state_content(done.row)
        done.become(KeyState.PENDING_DELETION, wait=wait)
        done.record(Operation.SCHEDULE_DELETION, before, state_content(done.row))
    try:
        _confirm(done, key, confirm, actor)
    except BaseException as error:
        with _again(done, key, actor) as now:
            if _is_unchanged(now.row, done.row):  # who has changed it meanwhile knew it as pending
                _put_back(now, KeyState(before["state"]), error)
        raise
    assert done.row.deletion_at is not None  # noqa: S101 - it was set
    return done.row.deletion_at


@performs(Operation.CANCEL_DELETION)
def cancel_deletion(key: KeyOrVersion, *, actor: Any = None) -> None:
    """Take a deletion back, which leaves the key or version disabled (KMS: CancelKeyDeletion).

    OperationContext it twice does nothing. Arguments and errors are those of `disable`.
    """
    with performing(Operation.CANCEL_DELETION, key, actor) as done:
        to = state_after(Operation.CANCEL_DELETION, done.row)
        if to != done.row.state:
            before = state_content(done.row)
            done.become(to)
            done.record(Operation.CANCEL_DELETION, before, state_content(done.row))


def _confirm(done: OperationContext, key: KeyOrVersion, confirm: str | None, actor: Any) -> None:
    """Count what is under a key that is pending deletion, and record what is confirmed.

    Raises:
        KeyInUse: a value is under it.
        ConfirmationRequired: it is not confirmed.
        CensusFailed: that could not be counted.
        MasterKeyUnusable: its state was changed meanwhile.
    """
    unseen = uncounted_now()
    found = values_under(done.row)
    if found:
        raise KeyInUse(done.row, found)
    seen = witnesses_of(done.row, unseen)
    reasons = list(seen.reasons())
    check_quoted(confirm, done.row, seen.expected, reasons, last_use_by_kms(done.row))
    if not reasons:
        return
    with _again(done, key, actor) as now:
        if not _is_unchanged(now.row, done.row):
            raise MasterKeyUnusable(
                f"The state of {named(now.row)} was changed while the values under it were "
                f"counted: it is {now.row.state.replace('_', ' ')}."
            )
        now.record(Operation.CONFIRM_DELETION, {}, {"confirmed": confirm, **seen.content()})


@contextmanager
def _again(first: OperationContext, key: KeyOrVersion, actor: Any) -> Iterator[OperationContext]:
    """Lock a key or version once more, after values were counted; see `context.performing`."""
    which = copy(first.row)  # `performing` tells it what it finds
    with expecting(lambda _: None), performing(Operation.SCHEDULE_DELETION, which, actor) as done:
        yield done
    update_known(key, done.row)


def _is_unchanged(now: Row, before: Row) -> bool:
    return (now.state, now.state_changed_at) == (before.state, before.state_changed_at)


def _put_back(done: OperationContext, to: KeyState, error: BaseException) -> None:
    pending = state_content(done.row)
    done.become(to)
    after = {**state_content(done.row), "because": type(error).__name__}
    done.record(Operation.CANCEL_DELETION, pending, after)


def _same_date(done: OperationContext, wait: timedelta) -> datetime:
    row = done.row
    assert row.deletion_at is not None  # noqa: S101 - it is pending
    if row.deletion_at != row.state_changed_at + wait:
        raise MasterKeyUnusable(
            f"The deletion of {named(row)} is scheduled already, for {row.deletion_at:%Y-%m-%d}. "
            "Cancel it before you schedule it again."
        )
    return row.deletion_at
