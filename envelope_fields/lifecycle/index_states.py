"""The states of blind indexes: which follow which, and what has to be over before.

A build is a deployment of the project, with the indexes that it declares. While one index replaces
another, builds write the first, both, or the second. Lookups go by one of them; so no build may be
about that does not write it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from math import ceil
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet

from envelope_fields import audit, databases
from envelope_fields.conf import configuration
from envelope_fields.exceptions import IndexNotBegun, IndexNotReady, quantity
from envelope_fields.lifecycle import context, index_triggers
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.other_processes import known_everywhere
from envelope_fields.models import BlindIndex, BlindIndexKey, IndexState, MasterKey
from envelope_fields.models.state_changes import begin_change
from envelope_fields.policy import require_on_each

_NEXT = {
    IndexState.FILLING: {IndexState.VERIFIED, IndexState.RETIRED},
    IndexState.VERIFIED: {IndexState.READING, IndexState.FILLING, IndexState.RETIRED},
    IndexState.READING: {IndexState.VERIFIED, IndexState.FILLING, IndexState.RETIRED},
    IndexState.RETIRED: set[IndexState](),
}


def require_index(label: str, *, actor: Any = None) -> BlindIndex:
    """Have no build write a table any more that does not write one of its indexes.

    Builds that write the index that it replaces, and not this one, are refused as soon as they know
    of it, within `KEY_CACHE_SECONDS`; those that know neither are not. It lasts until the index is
    filling again, or retired. Where it is so already, or the index replaces none, do nothing.

    Arguments and errors are those of `change_index_state`.
    """
    with _locking(label) as (using, keys, row):
        if row.required_at is not None or not row.replaces:
            return row
        principal = require_on_each(Operation.CHANGE_INDEX.action, keys, actor, using=using)
        row.required_at = begin_change(using)
        row.save(using=using, update_fields=["required_at"])
        standing = {"index": label, "state": str(row.state)}
        audit.record(
            Operation.CHANGE_INDEX,
            actor=principal,
            using=using,
            key=keys[0] if len(keys) == 1 else None,
            before={**standing, "required": False},
            after={**standing, "required": True},
        )
    return row


def known_since(row: BlindIndex) -> datetime:
    """Return from when on every process knows of the state of an index."""
    return known_everywhere(row.state_changed_at)


def begun_index(label: str) -> BlindIndex | None:
    """Return the row of an index; None where it is not begun."""
    return BlindIndex.objects.using(configuration().database).filter(label=label).first()


def replacing_index(label: str) -> BlindIndex | None:
    """Return the row of the index that lookups ask in the place of another one, if they do."""
    rows = BlindIndex.objects.using(configuration().database).filter(replaces=label)
    return rows.filter(state=IndexState.READING).first()


def change_index_state(label: str, to: str, *, actor: Any = None) -> BlindIndex:
    """Bring an index to another state; where it is in it already, do nothing.

    Other processes know of it within `KEY_CACHE_SECONDS`. Whether its rows are what the state says
    is the caller's to have found out: see `envelope_fields.indexing`.

    Args:
        label: `app_label.model.field` of its column.
        to: an `IndexState`.
        actor: as for `create_master_key`; needs the right to rotate each search key of the index.

    Raises:
        IndexNotBegun: nothing is known of the index.
        IndexNotReady: no such step leads from the state that it is in; or it is too early, since
            builds may be about that would miss rows, or have others miss theirs.
        KeyAccessDenied: the actor may not.
    """
    row = _changed_to(label, IndexState(to), actor)
    index_triggers.settle_changed(label, to)
    return row


def _changed_to(label: str, to: IndexState, actor: Any) -> BlindIndex:
    with _locking(label) as (using, keys, row):
        principal = require_on_each(Operation.CHANGE_INDEX.action, keys, actor, using=using)
        before = IndexState(row.state)
        if to == before:
            return row
        if to not in _NEXT[before]:
            raise IndexNotReady(
                f"The blind index {label} is {before.label}, and does not become {to.label} from "
                f"there. Next are: {', '.join(sorted(_NEXT[before])) or 'none'}."
            )
        _refuse_while_early(row, to)
        row.state, row.state_changed_at = to, begin_change(using)
        if to in (IndexState.FILLING, IndexState.RETIRED):
            row.required_at = None
        elif row.replaces and row.required_at is None:
            row.required_at = row.state_changed_at
        row.save(using=using, update_fields=["state", "state_changed_at", "required_at"])
        audit.record(
            Operation.CHANGE_INDEX,
            actor=principal,
            using=using,
            key=keys[0] if len(keys) == 1 else None,
            before={"index": label, "state": str(before)},
            after={"index": label, "state": str(to)},
        )
    return row


def _refuse_while_early(row: BlindIndex, to: IndexState) -> None:
    """Raise `IndexNotReady` while other processes may go by what leads to the step."""
    if to == IndexState.RETIRED and row.state == IndexState.READING:
        newer = replacing_index(row.label)
        if newer is None:
            raise IndexNotReady(
                f"The blind index {row.label} is reading, and no index that is reading `replaces` "
                "it: its lookups would end. Bring such a one to reading first; or, if they are to "
                f"end, this one to verified: `python manage.py rebuild_indexes {row.label} "
                "--to verified`."
            )
        _refuse_until_known(newer, f"look in {row.label}")
    if to == IndexState.READING and row.required_at is None:
        _refuse_until_known(row, "write rows without it")
    if to == IndexState.FILLING and row.replaces:
        if row.state == IndexState.READING:
            raise IndexNotReady(
                f"The blind index {row.label} is reading: processes that do not know it could "
                "write while others look in it. Bring it to verified first."
            )
        _refuse_until_known(row, f"look in {row.label}")


def _refuse_until_known(row: BlindIndex, what: str) -> None:
    seconds = (known_since(row) - databases.now()).total_seconds()
    if seconds > 0:
        raise IndexNotReady(
            f"It is too early: the blind index {row.label} is {IndexState(row.state).label} since "
            f"{row.state_changed_at:%H:%M:%S}, and other processes may {what} for "
            f"{quantity(ceil(seconds), 'second')} more."
        )


@contextmanager
def _locking(label: str) -> Iterator[tuple[str, list[MasterKey], BlindIndex]]:
    """Open a transaction; yield its database, and the rows of an index and its keys, locked.

    The keys are first, as where an index is begun, or one would wait for the other.
    """
    key_ids = search_key_ids(label, configuration().database)
    with context.key_transaction() as using:
        keys = context.locked_keys(using, key_ids)
        yield using, keys, _locked(label, using)


def _locked(label: str, using: str) -> BlindIndex:
    rows: QuerySet[BlindIndex] = QuerySet(BlindIndex, using=using).filter(label=label)
    rows.update(state=F("state"))  # SQLite has no row locks, and its transaction begins by writing
    row = rows.select_for_update().first()
    if row is None:
        raise IndexNotBegun(f"No blind index {label} is begun in the database {using!r}.")
    return row


def search_key_ids(label: str, using: str) -> list[UUID]:
    """Return the ids of the search keys that an index is begun with."""
    row = begun_index(label)
    if row is None:
        return []
    pins = BlindIndexKey.objects.using(using).filter(name=row.name)
    return list(pins.values_list("master_key_id", flat=True))


def possible_states(state: str) -> list[IndexState]:
    """Return the states that an index may be brought to from one, in their order."""
    return [each for each in IndexState if each in _NEXT[IndexState(state)]]
