"""Single steps of an index, which take what was done before, and wait for nothing.

The admin and the API take them one by one; the command does what each takes, and waits.
"""

from datetime import datetime
from typing import Any

from envelope_fields import databases
from envelope_fields.exceptions import IndexNotReady, quantity
from envelope_fields.fields.index.uniqueness import lost_with
from envelope_fields.indexing import runs
from envelope_fields.indexing.collisions import require_constraints
from envelope_fields.indexing.rows import find_indexes
from envelope_fields.keyring.conversions import is_finished
from envelope_fields.lifecycle import index_states, index_triggers
from envelope_fields.lifecycle.other_processes import known_everywhere
from envelope_fields.lifecycle.representation import as_utc
from envelope_fields.models import BlindIndex, IndexState

_BACK = {
    (IndexState.READING, IndexState.VERIFIED),
    (IndexState.READING, IndexState.FILLING),
    (IndexState.VERIFIED, IndexState.FILLING),
    (IndexState.FILLING, IndexState.FILLING),
}
# After a verification; and one that is verified may have been read a moment ago.
_VERIFIED = (IndexState.VERIFIED, IndexState.READING)


def is_back(before: str | None, to: str | None) -> bool:
    """Whether a step is one back, which takes no look at the rows."""
    return (before, to) in _BACK


def change_state(index: Any, to: str, *, actor: Any = None) -> BlindIndex:
    """Bring an index to another state, if what it takes has been done.

    Args:
        index: the field.
        to: an `IndexState`.
        actor: as for `change_index_state`.

    Raises:
        IndexNotBegun: nothing is known of the index.
        IndexNotReady: it is too early, and why; or no such step leads from its state.
        KeyAccessDenied: the actor may not.
    """
    to, label = IndexState(to), index.field_path
    if lets_builds_write(index, to):
        index_states.require_index(label, actor=actor)
    refuse_too_early(index, to)
    row = index_states.begun_index(label)
    if row is not None and row.state in _VERIFIED and to == IndexState.FILLING:
        _refuse_while_looked_in(row)
    if row is not None and row.state == IndexState.FILLING and to == IndexState.READING:
        index_states.change_index_state(label, IndexState.VERIFIED, actor=actor)
        refuse_too_early(index, to)
    return index_states.change_index_state(label, to, actor=actor)


def _refuse_while_looked_in(row: BlindIndex) -> None:
    """Raise `IndexNotReady` while other processes may look in an index that is filled again.

    On SQLite and MariaDB, triggers empty it then where a value is written again as it was.
    """
    known = index_states.known_since(row)
    if row.state == IndexState.VERIFIED and known <= databases.now():
        return
    when = f"at {as_utc(known)}" if row.state == IndexState.VERIFIED else "KEY_CACHE_SECONDS later"
    raise IndexNotReady(
        f"The blind index {row.label} is not filled again yet: other processes may look in it, and "
        f"rows could be emptied. Bring it to verified first, and to filling {when}; "
        f"`python manage.py rebuild_indexes {row.label} --to filling` waits for that."
    )


def lets_builds_write(index: Any, to: str) -> bool:
    """Whether builds may write rows that would be missing in an index, before a step.

    They are refused from the first call of `change_state` on; a verification counts after that.
    """
    row = index_states.begun_index(index.field_path)
    if row is None or index.replaced is None or row.required_at is not None:
        return False
    return row.state == IndexState.FILLING and to in _VERIFIED


def refuse_too_early(index: Any, to: str) -> None:
    """Raise `IndexNotReady` if what a state takes has not been done, and say what."""
    row = index_states.begun_index(index.field_path)
    before = None if row is None else IndexState(row.state)
    refuse_after_retiring(index, before, to)
    if to == IndexState.READING:
        refuse_while_converting(index)
    if to == IndexState.RETIRED and index_states.replacing_index(index.field_path) is not None:
        refuse_without_constraints(index)
    if row is not None and to in _VERIFIED and not is_back(before, to):
        require_constraints(find_indexes([row.label]), to)
        _refuse_unless_verified(index, row, to)
        if before != IndexState.READING:
            refuse_while_emptied(index, to)


def _refuse_unless_verified(index: Any, row: BlindIndex, to: str) -> None:
    """Raise `IndexNotReady` if not every row was found right, since every build writes the index.

    Builds that do not know an index cannot be asked. So rows are compared once more before it is
    read, when these have had their time to show what they write.
    """
    if row.state == IndexState.READING:
        return
    problem = (
        "builds that do not write it are not refused yet"
        if lets_builds_write(index, to)
        else _not_verified(index, written_by_all_since(row))
    )
    if problem:
        raise IndexNotReady(
            f"The blind index {row.label} does not become {IndexState(to).label}: {problem}. "
            f"Rebuild it, then verify it: `python manage.py rebuild_indexes {row.label} --to {to}` "
            "does both."
        )


def written_by_all_since(row: BlindIndex) -> datetime:
    """Return from when on a verification counts: one that began before saw what others left."""
    changed_at = runs.last_change(row)
    return row.state_changed_at if changed_at is None else known_everywhere(changed_at)


def _not_verified(index: Any, since: datetime) -> str:
    """Say why no verification counts; empty where one does."""
    found = runs.last_verification(index, since=since)
    if found is None:
        return f"no verification that began after {as_utc(since)} has compared every row"
    wrong = runs.wrong_rows(found)
    return f"the verification {found.pk} has found {quantity(wrong, 'row')} wrong" if wrong else ""


def refuse_while_emptied(index: Any, to: str) -> None:
    """Raise `IndexNotReady` while rows that were found right may have been emptied since.

    Each verification drops the triggers that do so when it begins; one that stands then could not
    be dropped, or was made again.
    """
    where = index_triggers.emptied(index)
    if where:
        raise IndexNotReady(
            f"The blind index {index.field_path} does not become {IndexState(to).label}: a trigger "
            f"of ours empties it in {', '.join(where)} when a value is written again as it was. "
            "Verify it again, which drops the trigger; that takes the right to do so, and no lock "
            "of others on the table."
        )


def refuse_while_converting(index: Any) -> None:
    """Raise `IndexNotReady` while a build of another package may write what is in no index.

    That is until the conversion of each column that it is of is finished.
    """
    for each in index.source_fields:
        if each.legacy_formats and not is_finished(each.model._meta.label, each.name):
            raise IndexNotReady(
                f"The blind index {index.field_path} does not become reading: what a build of "
                f"another package writes into {each} is not in it. Finish the conversion first: "
                f"`python manage.py convert_field {each} --to finished`."
            )


def refuse_after_retiring(index: Any, before: IndexState | None, to: str | None) -> None:
    """Raise `IndexNotReady` where an index is retired, or the one to go back to."""
    if before == IndexState.RETIRED and to not in (None, IndexState.RETIRED):
        raise IndexNotReady(
            f"The blind index {index.field_path} is retired, permanently: add one of another name."
        )
    if index.replaced is not None and is_back(before, to):
        replaced = index_states.begun_index(index.replaced.field_path)
        if replaced is not None and replaced.state == IndexState.RETIRED:
            raise IndexNotReady(
                f"The blind index {index.field_path} does not go back: {replaced.label}, which it "
                "replaces, is retired, and lookups would end. To mend it, run `python manage.py "
                f"rebuild_indexes {index.field_path} --to reading`."
            )


def refuse_without_constraints(index: Any) -> None:
    """Raise `IndexNotReady` if uniqueness would end with an index, and not go on with another."""
    lost = lost_with(index) if index.replacing else []
    if lost:
        raise IndexNotReady(
            f"The blind index {index.field_path} keeps values unique, and the one that replaces it "
            f"would not. Declare before: {'; '.join(lost)}."
        )
