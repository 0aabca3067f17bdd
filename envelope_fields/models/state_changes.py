"""Changes of states, and when each was seen to be committed: others learn of it then, not before.

A transaction may go on for long after the change, or wait for its commit. So the moment that it
writes down does not say what others know, who go by the state before for `KEY_CACHE_SECONDS`
after the commit. The first look after the commit is one, and is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from threading import local

from django.db import DatabaseError, models, transaction
from django.utils.translation import gettext_lazy as _

from envelope_fields import databases
from envelope_fields.conf import configuration
from envelope_fields.databases.errors import says_no_table
from envelope_fields.models import key_changes


class StateChange(models.Model):
    """A change of the state of a key, an index, a conversion or the bound of key caches."""

    # What the row that was changed says of when; and a moment by which that was committed, once it
    # was seen.
    changed_at = models.DateTimeField(_("changed at"), db_index=True)
    committed_at = models.DateTimeField(_("committed at"), null=True)

    class Meta:
        verbose_name = _("change of a state")
        verbose_name_plural = _("changes of states")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.changed_at:%Y-%m-%d %H:%M:%S.%f}"

    @property
    def made_id(self) -> bytes:
        """By which it is known that it is not committed; see `key_changes.can_vanish`."""
        return change_id(self.changed_at)


def change_id(changed_at: object) -> bytes:
    """Return the id of a change, by its moment."""
    return f"change at {changed_at}".encode()


key_changes.announce_saved(StateChange)


class _Begun(local):
    """The moments of changes of this thread that were not seen to be committed yet."""

    def __init__(self) -> None:
        self.moments: list[datetime] = []


begun = _Begun()


def begin_change(using: str) -> datetime:
    """Return the moment of a change of a state, for its row, in a transaction that commits it."""
    moment = databases.now()
    with _before_its_table(), transaction.atomic(using=using):
        StateChange.objects.using(using).create(changed_at=moment)
        transaction.on_commit(partial(_see_committed, moment, using), using=using, robust=True)
        begun.moments.append(moment)
    return moment


def look_at_begun() -> None:
    """Look whether the changes that this thread has begun are committed: a transaction is over.

    Mostly that was seen with its commit. Where all of a test is one transaction, it is as if the
    one inside of it were committed.
    """
    moments, begun.moments = begun.moments, []
    for moment in moments:
        committed_at(moment)


def committed_at(changed_at: datetime) -> datetime:
    """Return a moment by which a change of a state was committed; where it is not yet, now."""
    using = configuration().database
    with _before_its_table(), transaction.atomic(using=using):
        found = _seen(changed_at, using)
        if None in found and not key_changes.can_vanish(change_id(changed_at)):
            _see_committed(changed_at, using)
            found = _seen(changed_at, using)
        # One from before there was this table has none.
        return max((each or databases.now() for each in found), default=changed_at)
    return changed_at


def _seen(changed_at: datetime, using: str) -> list[datetime | None]:
    changes = StateChange.objects.using(using).filter(changed_at=changed_at)
    return list(changes.values_list("committed_at", flat=True))


def _see_committed(changed_at: datetime, using: str) -> None:
    changes = StateChange.objects.using(using).filter(changed_at=changed_at, committed_at=None)
    begun.moments = [each for each in begun.moments if each != changed_at]
    with suppress(DatabaseError), transaction.atomic(using=using):  # the next one to look does it
        changes.update(committed_at=databases.now())


@contextmanager
def _before_its_table() -> Iterator[None]:
    """Do nothing where the table is not made yet: a plan that makes it may change states first."""
    try:
        yield
    except DatabaseError as error:
        if not says_no_table(error):
            raise
