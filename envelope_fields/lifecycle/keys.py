"""Master keys by their names: an id, an alias or an address; and what can be done with them.

The admin and the API ask here what to show, and what to try: a permission of Django's, and the
policy of the key; and which operations its state allows. An operation asks the policy again, under
its lock.
"""

import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.db import Error, connections
from django.db.models import F, QuerySet

from envelope_fields.conf import configuration
from envelope_fields.databases.errors import refusal_text
from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.representation import Row, named
from envelope_fields.models import AuditKey, KeyState, MasterKey, MasterKeyVersion
from envelope_fields.policy import Action, Attempt, acting, allowed_on_each, keys_open_to, notify

Key = MasterKey | UUID | str
KeyOrVersion = Key | MasterKeyVersion
_Row = TypeVar("_Row", MasterKey, MasterKeyVersion)

# In addresses, an alias has this before it, so that none is taken for an id.
ALIAS_PREFIX = "alias:"
_ID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
ADDRESS = rf"\A(?:{_ID}|alias:[A-Za-z0-9][A-Za-z0-9/_.:@-]{{0,199}})\Z"
_ADDRESS, _ID_ALONE = re.compile(ADDRESS), re.compile(rf"{_ID}\Z")


def find_master_key(key: Key) -> MasterKey:
    """Return a master key by its alias or id (KMS: DescribeKey).

    Raises:
        MasterKeyNotFound: there is no such key.
    """
    return found_key(configuration().database, key)


def named_key(text: str) -> MasterKey:
    """Return the master key whose id a text is, or that has it for its alias.

    Raises:
        MasterKeyNotFound: there is none.
    """
    with suppress(ValueError, MasterKeyNotFound):  # an alias may look like an id
        return find_master_key(UUID(text))
    return find_master_key(text)


def addressed_key(text: str) -> MasterKey | None:
    """Return the key that an address names by its id, or by `alias:` and its alias, if any."""
    if not _ADDRESS.match(text):  # a database would refuse some of it
        return None
    try:
        return find_master_key(alias_in(text) or UUID(text))
    except MasterKeyNotFound:
        return None


def alias_in(address: str) -> str:
    """Return the alias in an address; empty where it has an id."""
    return address.removeprefix(ALIAS_PREFIX) if address.startswith(ALIAS_PREFIX) else ""


def id_in(text: str) -> UUID | None:
    """Return the id that a text is, if it is one."""
    return UUID(text) if _ID_ALONE.match(text) else None


def numbered_version(key: MasterKey, number: int) -> MasterKeyVersion | None:
    """Return a version of a key by its number, if the key has one."""
    versions = key.versions.using(configuration().database).select_related("master_key")
    return versions.filter(number=number).first()


def found(using: str, key: KeyOrVersion) -> MasterKey | MasterKeyVersion:
    """Return the row of a master key or of one of its versions as it is now, without a lock.

    Raises:
        MasterKeyNotFound: there is no such key or version.
    """
    if isinstance(key, MasterKeyVersion):
        versions = MasterKeyVersion.objects.using(using).select_related("master_key")
        return existing(versions.filter(pk=key.pk).first(), using, key)
    return found_key(using, key)


def found_key(using: str, key: Key) -> MasterKey:
    """Return the row of a master key as it is now, without a lock; errors as above."""
    row = MasterKey.objects.using(using).filter(**condition(key)).first()
    return existing(same_case(row, key), using, key)


def same_case(row: MasterKey | None, key: Key) -> MasterKey | None:
    """Take no row for that of an alias which differs in case: some databases do."""
    return None if row is None or (isinstance(key, str) and row.alias != key) else row


def existing(row: _Row | None, using: str, key: KeyOrVersion) -> _Row:
    """Return a row that was found.

    Raises:
        MasterKeyNotFound: none was.
    """
    if row is None:
        named = repr(key) if isinstance(key, MasterKeyVersion) else f"master key {key}"
        raise MasterKeyNotFound(f"There is no {named} in the database {using!r}.")
    return row


def condition(key: Key) -> dict[str, Any]:
    """Return the condition on the row of a key."""
    if isinstance(key, MasterKey | UUID):
        return {"pk": getattr(key, "pk", key)}
    if isinstance(key, str):
        return {"alias": key}
    raise TypeError(f"{type(key).__name__} is not a master key, nor the id or alias of one")


def has_permission(user: Any, codename: str) -> bool:
    """Whether a user has a permission of this app; who may change sees, as in Django's admin."""
    ask = getattr(user, "has_perm", None)  # a user model may have no permissions
    names = {codename, codename.replace("view_", "change_")}
    return bool(ask and any(ask(f"envelope_fields.{name}") for name in names))


def actions_on(
    keys: Collection[MasterKey], *actions: Action, actor: Any = None
) -> dict[UUID, set[Action]]:
    """Return what the policies of keys let a user do, by the ids of the keys.

    Args:
        *actions: what is in question; by default, every action.
        actor: the user, or a principal; None is the current principal.
    """
    using = configuration().database
    return allowed_on_each(actions or Action, keys, acting(actor), using=using)


def open_keys(action: Action, actor: Any = None) -> QuerySet[MasterKey]:
    """Return the keys with which a user may do something, by the policies of the keys."""
    using = configuration().database
    keys = MasterKey.objects.using(using)
    return keys.filter(keys_open_to(action, acting(actor), using=using))


def record_denial(action: Action | str, key: MasterKey | None, actor: Any = None) -> None:
    """Have a refused attempt logged, and stored in the audit trail."""
    pk, alias = (None, None) if key is None else (key.pk, key.alias)
    notify(Attempt(action, pk, alias).denied_to(acting(actor)))


def possible_operations(row: Row, *, is_current: bool | None = None) -> frozenset[Operation]:
    """Return the operations that change something, as the row is now; for buttons and menus.

    Args:
        row: a key, or a version; nothing is done to a current version alone.
        is_current: whether a version is the current one; None has the database asked.
    """
    state = KeyState(row.state)
    is_version = isinstance(row, MasterKeyVersion)
    if isinstance(row, MasterKeyVersion) and is_current is None:
        is_current = row.number == row.master_key.current_version.number
    return frozenset(
        operation
        for operation in Operation
        if operation.codename and _changes(operation, state)
        if not is_version or (operation.of_versions and not is_current)
    )


def _changes(operation: Operation, state: KeyState) -> bool:
    to = operation.transitions.get(state)
    return to is not None and (to != state or not operation.of_versions)


def state_after(operation: Operation, row: Row) -> KeyState:
    """Return the state that an operation leads to.

    Raises:
        MasterKeyUnusable: not from the state that the row is in (KMS: KMSInvalidStateException).
    """
    to = operation.transitions.get(KeyState(row.state))
    if to is None:
        raise MasterKeyUnusable(
            f"Cannot {operation.phrase or operation.label} {named(row)}: it is "
            f"{row.state.replace('_', ' ')}. {_way_out(operation, row)}"
        )
    return to


def _way_out(operation: Operation, row: Row) -> str:
    if row.state == KeyState.DESTROYED:
        at = f" was on {row.destroyed_at:%Y-%m-%d} and" if row.destroyed_at else ""
        return f"That{at} is final."
    if row.state == KeyState.PENDING_DELETION:
        due = f" (it is due on {row.deletion_at:%Y-%m-%d})" if row.deletion_at else ""
        return f"Cancel its deletion first{due}."
    if operation is Operation.CANCEL_DELETION:
        return "There is no deletion to cancel."
    if operation is Operation.DESTROY:
        return "Schedule its deletion first, or shred it together with its values."
    return "Enable it first."


def locked_rows(using: str, **which: Any) -> list[MasterKey]:
    """Return rows of master keys in the order of their ids, locked until the transaction ends."""
    # Not of the manager, which would announce a change of the keys.
    rows: QuerySet[MasterKey] = QuerySet(MasterKey, using=using).filter(**which)
    in_order, one_by_one = rows.order_by("pk").select_for_update(), has_row_locks(using)
    # By the write alone, several rows would be locked in another order than that of their ids.
    found = list(in_order) if one_by_one else []
    # SQLite has no row locks: a first write takes its one lock, before anything is read. On
    # PostgreSQL, it keeps out transactions that go by what they saw before.
    rows.update(state=F("state"))
    return found if one_by_one else list(in_order)


def has_row_locks(using: str) -> bool:
    """Whether rows are locked one by one, and not their whole database."""
    return bool(connections[using].features.has_select_for_update)


KeyRow = MasterKey | MasterKeyVersion | AuditKey

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refused:
    """A key or version that something was not done to, and why."""

    row: KeyRow
    error: Exception

    def __str__(self) -> str:
        if isinstance(self.error, EnvelopeError):
            return str(self.error)
        if isinstance(self.error, Error):
            return f"{named(self.row)}: {refusal_text(self.error, configuration().database)}"
        return f"{named(self.row)}: {type(self.error).__name__}: {self.error}"


@contextmanager
def collecting(refused: list[Refused], row: KeyRow) -> Iterator[None]:
    """Add what the block raises to `refused`."""
    try:
        yield
    except Exception as error:
        _logger.warning("%s: %s", named(row), error, exc_info=not isinstance(error, EnvelopeError))
        refused.append(Refused(row, error))
