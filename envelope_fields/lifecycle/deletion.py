"""Deletion with a waiting period, which can be cancelled, and the end of a key (law 7).

At the end the wrapped material is overwritten, and the rows stay as a tombstone. KMS:
ScheduleKeyDeletion, CancelKeyDeletion.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from envelope_fields import databases, keyring, models
from envelope_fields.audit.uses import last_use_by_kms
from envelope_fields.census import census
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError, MasterKeyUnusable
from envelope_fields.lifecycle import context, witnesses
from envelope_fields.lifecycle.certificates import ConfirmationRequired, check_quoted
from envelope_fields.lifecycle.context import OperationContext, performing
from envelope_fields.lifecycle.keys import KeyOrVersion, Refused, collecting, state_after
from envelope_fields.lifecycle.operations import Operation, performs
from envelope_fields.lifecycle.parameters import LONGEST_WAIT, SHORTEST_WAIT
from envelope_fields.lifecycle.representation import Row, named, state_content


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
    context.refuse_transaction_around("schedule the deletion of a key")
    wait = timedelta(days=days)
    with performing(Operation.SCHEDULE_DELETION, key, actor) as done:
        if state_after(Operation.SCHEDULE_DELETION, done.row) == done.row.state:
            return _same_date(done, wait)
        before = models.KeyState(done.row.state)
        done.become(models.KeyState.PENDING_DELETION, Operation.SCHEDULE_DELETION, wait=wait)
    try:
        _confirm(done, key, confirm, actor)
    except BaseException as error:
        with context.performing_again(Operation.SCHEDULE_DELETION, done, key, actor) as now:
            if now.is_as(done.row):  # who has changed it meanwhile knew it as pending
                _put_back(now, before, error)
        raise
    assert done.row.deletion_at is not None  # noqa: S101 - it was set
    return done.row.deletion_at


@performs(Operation.CANCEL_DELETION)
def cancel_deletion(key: KeyOrVersion, *, actor: Any = None) -> None:
    """Take a deletion back, which leaves the key or version disabled (KMS: CancelKeyDeletion).

    Doing it twice does nothing. Arguments and errors are those of `disable`.
    """
    context.switch(Operation.CANCEL_DELETION, key, actor)


def _confirm(done: OperationContext, key: KeyOrVersion, confirm: str | None, actor: Any) -> None:
    """Count what is under a key that is pending deletion, and record what is confirmed.

    Raises:
        KeyInUse: a value is under it.
        ConfirmationRequired: it is not confirmed.
        CensusFailed: that could not be counted.
        MasterKeyUnusable: its state was changed meanwhile.
    """
    unseen = witnesses.uncounted_now()
    witnesses.refuse_if_in_use(done.row, census(done.row))
    seen = witnesses.witnesses_of(done.row, unseen)
    reasons = list(seen.reasons())
    check_quoted(confirm, done.row, seen.expected, reasons, last_use_by_kms(done.row))
    if not reasons:
        return
    with context.performing_again(Operation.SCHEDULE_DELETION, done, key, actor) as now:
        now.refuse_unless_as(done.row)
        now.record(Operation.CONFIRM_DELETION, {}, {"confirmed": confirm, **seen.content()})


def _put_back(done: OperationContext, to: models.KeyState, error: BaseException) -> None:
    done.become(to, Operation.CANCEL_DELETION, because=type(error).__name__)


def _same_date(done: OperationContext, wait: timedelta) -> datetime:
    row = done.row
    assert row.deletion_at is not None  # noqa: S101 - it is pending
    if row.deletion_at != row.state_changed_at + wait:
        raise MasterKeyUnusable(
            f"The deletion of {named(row)} is scheduled already, for {row.deletion_at:%Y-%m-%d}. "
            "Cancel it before you schedule it again."
        )
    return row.deletion_at


@dataclass(slots=True)
class Destructions:
    """What `destroy_due_keys` did.

    Attributes:
        destroyed: the keys and versions, which are tombstones now.
        refused: those that were due and are not destroyed, and why. They stay as they were,
            unusable, and the next run tries again.
    """

    destroyed: list[Row] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def destroy_due_keys(*, actor: Any = None) -> Destructions:
    """Destroy the keys and versions whose waiting period is over; for cron.

    The census is taken again: one under which it finds a value stays pending and is reported.
    Each is destroyed in a transaction of its own, and once, however many do this at once. One that
    fails keeps none of the others from it.

    Args:
        actor: as for `create_master_key`; needs the right to schedule deletions.
    """
    done = Destructions()
    due = _due()
    if not due:
        return done
    # One count for all. Each has been unusable for days, so nothing comes under it now; and what
    # made one usable again since has moved its date, which is looked at under the lock.
    counted: Any = None
    for row in due:
        with collecting(done.refused, row):
            unseen, rows = counted = counted or (witnesses.uncounted_now(), census())
            witnesses.refuse_if_in_use(row, rows)
            if _destroy_if_due(row, witnesses.witnesses_of(row, unseen), actor):
                done.destroyed.append(row)
    return done


def destroy(done: OperationContext) -> None:
    """Overwrite the wrapped material of a locked key or version; what cannot be undone.

    The event is the caller's to record, in the same transaction.
    """
    now = databases.now()
    gone = {"state": models.KeyState.DESTROYED, "state_changed_at": now, "destroyed_at": now}
    versions = done.key.versions.using(done.using).exclude(state=models.KeyState.DESTROYED)
    if done.version is not None:
        versions = versions.filter(pk=done.version.pk)
    version_ids = list(versions.values_list("version_id", flat=True))
    versions.update(**gone, deletion_at=None, wrapped_material=models.OVERWRITTEN)
    wraps = models.FurtherWrap.objects.using(done.using).filter(version_id__in=version_ids)
    wraps.update(wrapped_material=models.OVERWRITTEN)
    if done.version is None:
        done.set(**gone, deletion_at=None, alias=None)
    else:
        done.version.refresh_from_db(using=done.using)
    # What this process opened of it goes, too.
    transaction.on_commit(keyring.evict, using=done.using)


def _due() -> list[Row]:
    """Return what is due: versions first, which may be due before their key.

    By the clock that their dates are of, and not by that of the machine that happens to ask.
    """
    using = configuration().database
    which = {"state": models.KeyState.PENDING_DELETION, "deletion_at__lte": databases.now()}
    versions = (
        models.MasterKeyVersion.objects.using(using).filter(**which).select_related("master_key")
    )
    keys = models.MasterKey.objects.using(using).filter(**which)
    return [*versions.order_by("deletion_at", "pk"), *keys.order_by("deletion_at", "pk")]


def _destroy_if_due(row: Row, now: witnesses.Witnesses, actor: Any) -> bool:
    with performing(Operation.DESTROY, row, actor) as done:
        # Under the lock: cancelled, scheduled anew, or destroyed by another process meanwhile?
        if (done.row.state, done.row.deletion_at) != (
            models.KeyState.PENDING_DELETION,
            row.deletion_at,
        ):
            return False
        _refuse_later(done, now)
        before = state_content(done.row)
        done.record(Operation.DESTROY, before, {"state": str(models.KeyState.DESTROYED)})
        destroy(done)
    return True


def _refuse_later(done: OperationContext, now: witnesses.Witnesses) -> None:
    """Raise if more is known of a key or version than when its deletion was scheduled.

    Other processes record the uses that they have counted about a minute later.

    Raises:
        ConfirmationRequired: it is.
    """
    now = now.with_latest_use()  # under the lock
    later = " ".join(_confirmed(done).later(now))
    if later:
        raise ConfirmationRequired(
            f"{named(done.row)[0].upper()}{named(done.row)[1:]} is not destroyed. {later} Cancel "
            f"the deletion; to go on, schedule it again with confirm={now.expected!r}.",
            now.expected,
            last_use_by_kms(done.row),
        )


def _confirmed(done: OperationContext) -> witnesses.Confirmed:
    """Return what was confirmed since the deletion was scheduled, as the audit trail says it."""
    events = models.AuditEvent.objects.using(done.using).filter(
        key_id=done.key.pk,
        version_number=None if done.version is None else done.version.number,
        action__in=(Operation.SCHEDULE_DELETION, Operation.CONFIRM_DELETION),
        outcome=models.AuditOutcome.DONE,
    )
    last = events.order_by("-number").first()
    return witnesses.Confirmed(done.row.state_changed_at, {} if last is None else last.after)
