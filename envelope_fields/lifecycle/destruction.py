"""The end of a key: its wrapped material is overwritten, and its rows stay as a tombstone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from envelope_fields import keyring
from envelope_fields.audit.uses import last_use_by_kms
from envelope_fields.census import CensusRow, NotCounted, census
from envelope_fields.conf import configuration
from envelope_fields.lifecycle.certificates import ConfirmationRequired
from envelope_fields.lifecycle.context import OperationContext, Refused, collecting, performing
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.representation import Row, named, state_content
from envelope_fields.lifecycle.witnesses import (
    Confirmed,
    Witnesses,
    refuse_if_in_use,
    uncounted_now,
    witnesses_of,
)
from envelope_fields.models import (
    AuditEvent,
    AuditOutcome,
    KeyState,
    MasterKey,
    MasterKeyVersion,
)

OVERWRITTEN = b""


class _Count(NamedTuple):
    """What was not counted, asked before, and what was."""

    unseen: tuple[NotCounted, ...]
    rows: list[CensusRow]


@dataclass(slots=True)
class Destructions:
    """What `destroy_due_keys` did.

    Attributes:
        destroyed: the keys and versions, which are tombstones now.
        refused: those that were due and are not destroyed, and why. They stay as they were,
            unusable, and the next run tries again.
    """

    destroyed: list[MasterKey | MasterKeyVersion] = field(default_factory=list)
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
    counted: list[_Count] = []
    for row in due:
        with collecting(done.refused, row):
            if not counted:
                counted.append(_Count(uncounted_now(), census()))
            refuse_if_in_use(row, counted[0].rows)
            if _destroy_if_due(row, witnesses_of(row, counted[0].unseen), actor):
                done.destroyed.append(row)
    return done


def destroy(done: OperationContext) -> None:
    """Overwrite the wrapped material of a locked key or version; what cannot be undone.

    The event is the caller's to record, in the same transaction.
    """
    now = timezone.now()
    gone = {"state": KeyState.DESTROYED, "state_changed_at": now, "destroyed_at": now}
    versions = done.key.versions.using(done.using).exclude(state=KeyState.DESTROYED)
    if done.version is not None:
        versions = versions.filter(pk=done.version.pk)
    versions.update(**gone, deletion_at=None, wrapped_material=OVERWRITTEN)
    if done.version is None:
        done.set(**gone, deletion_at=None, alias=None)
    else:
        done.version.refresh_from_db(using=done.using)
    # What this process opened of it goes, too.
    transaction.on_commit(keyring.evict, using=done.using)


def _due() -> list[MasterKey | MasterKeyVersion]:
    """Return what is due: versions first, which may be due before their key."""
    using = configuration().database
    which = {"state": KeyState.PENDING_DELETION, "deletion_at__lte": timezone.now()}
    versions = MasterKeyVersion.objects.using(using).filter(**which).select_related("master_key")
    keys = MasterKey.objects.using(using).filter(**which)
    return [*versions.order_by("deletion_at", "pk"), *keys.order_by("deletion_at", "pk")]


def _destroy_if_due(row: Row, now: Witnesses, actor: Any) -> bool:
    with performing(Operation.DESTROY, row, actor) as done:
        # Under the lock: cancelled, scheduled anew, or destroyed by another process meanwhile?
        if (done.row.state, done.row.deletion_at) != (KeyState.PENDING_DELETION, row.deletion_at):
            return False
        _refuse_later(done, now)
        before = state_content(done.row)
        done.record(Operation.DESTROY, before, {"state": str(KeyState.DESTROYED)})
        destroy(done)
    return True


def _refuse_later(done: OperationContext, now: Witnesses) -> None:
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


def _confirmed(done: OperationContext) -> Confirmed:
    """Return what was confirmed since the deletion was scheduled, as the audit trail says it."""
    events = AuditEvent.objects.using(done.using).filter(
        key_id=done.key.pk,
        version_number=None if done.version is None else done.version.number,
        action__in=(Operation.SCHEDULE_DELETION, Operation.CONFIRM_DELETION),
        outcome=AuditOutcome.DONE,
    )
    last = events.order_by("-number").first()
    return Confirmed(done.row.state_changed_at, {} if last is None else last.after)
