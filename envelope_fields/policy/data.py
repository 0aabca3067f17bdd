"""Policy data: what decisions are made on, read from the database as it is asked for."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, Self
from uuid import UUID

from django.db import DatabaseError
from django.db.models import ExpressionWrapper, F, JSONField, Q
from django.db.transaction import TransactionManagementError

from envelope_fields import databases
from envelope_fields.conf import configuration
from envelope_fields.databases.errors import advice
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.models import KeyGrant, KeyManager, KeyState, MasterKey
from envelope_fields.policy.principals import Principal
from envelope_fields.policy.users import Person, group_model, person


@dataclass(frozen=True, slots=True)
class KeyVersionState:
    """What a decision is made on: a key version and its key, as the database has them."""

    version_id: bytes
    number: int
    state: str
    key_id: UUID
    alias: str | None
    key_state: str

    def __str__(self) -> str:
        key = f"master key {self.alias!r}" if self.alias else f"master key {self.key_id}"
        return f"version {self.number} ({self.version_id.hex()}) of {key}"

    def check(self, action: str) -> None:
        """Return if a key version may be used at all.

        Raises:
            MasterKeyUnusable: the key or the version is not enabled.
        """
        for what, state in (("key", self.key_state), ("version", self.state)):
            if state != KeyState.ENABLED:
                raise MasterKeyUnusable(
                    f"Cannot {action}: {self} is unusable, because its {what} is "
                    f"{str(state).replace('_', ' ')}.{_WAYS_OUT.get(state, '')}"
                )


_WAYS_OUT: dict[str, str] = {
    KeyState.DISABLED: " Enable it first.",
    KeyState.PENDING_DELETION: " Cancel its deletion, and enable it.",
    KeyState.DESTROYED: " A backup of the keys from before may still have it.",
}


class KeyPolicy(NamedTuple):
    """What a key itself says of who may use it.

    An alias is not a right (law 9): a user who took an alias first would be given what is written
    under it. So a key serves fields if the application made it and gave it its alias, or has
    adopted it.

    Columns of migration 0001 alone: values are read and written while later ones are applied.
    """

    managed_by: str
    application_use: bool
    serves_fields: bool = True

    @classmethod
    def of(cls, key: MasterKey) -> Self:
        return cls(*(getattr(key, name) for name in cls._fields))

    @property
    def serves_everybody(self) -> bool:
        """Whether the key is open to every principal."""
        return self.managed_by == KeyManager.APPLICATION

    @property
    def serves_unbound_code(self) -> bool:
        """Whether the key is open to unbound code, while no request is handled."""
        open_to_application = self.serves_everybody or self.application_use
        return open_to_application and not configuration().require_principal

    def check_serves_fields(self, alias: str | None, managed_by: str | None) -> None:
        """Return if fields that name the key by its alias may write under it.

        By its declaration, a field says who manages the key; None is anybody.

        Raises:
            MasterKeyUnusable: a user made the key, or gave it its alias, and the application has
                not adopted it; or it is managed otherwise.
        """
        if not self.serves_fields:
            raise MasterKeyUnusable(
                f"Cannot write under the master key {alias!r}: a user made it or gave it this "
                "alias, and so it serves no fields yet. If it is to serve them, the application "
                f"adopts it: `python manage.py adopt_master_key {alias}`."
            )
        if managed_by not in (None, self.managed_by):
            raise MasterKeyUnusable(
                f"Cannot write under the master key {alias!r}: the field declares that its keys "
                f"are managed by the {managed_by}, and this one is managed by the "
                f"{self.managed_by}. Declare what is true, or give the alias to another key."
            )


class Grant(NamedTuple):
    """A `KeyGrant`, as decisions need it."""

    actions: frozenset[str]
    context: str
    expires_at: datetime | None

    def covers(self, field_path: str) -> bool:
        """Whether a field is in its context: itself, or the model or application that it is of."""
        return not self.context or f"{field_path}.".startswith(f"{self.context}.")


def key_policy(key_id: UUID, using: str) -> KeyPolicy:
    """Return what the row of a key says; `MasterKeyUnusable` is also that it is gone."""
    found = key_policies([key_id], using)
    if key_id not in found:
        raise MasterKeyUnusable(f"No master key has the id {key_id} any more.")
    return found[key_id]


def key_policies(key_ids: Collection[UUID], using: str) -> dict[UUID, KeyPolicy]:
    """Return what the rows of some keys say, in one query.

    Raises:
        MasterKeyUnusable: the database could not be read.
    """
    rows = MasterKey.objects.using(using).filter(pk__in=key_ids).order_by()
    with explained("The policy of a master key", using):
        return {
            key_id: KeyPolicy(*columns)
            for key_id, *columns in rows.values_list("pk", *KeyPolicy._fields)
        }


def grants(
    principal: Principal, groups: tuple[str, ...], key_ids: Collection[UUID | None], using: str
) -> dict[UUID | None, list[Grant]]:
    """Return the grants on some keys that name a user, or one of these groups, in one query.

    Errors as above.
    """
    names = names_of(principal, groups)
    rows = KeyGrant.objects.using(using).filter(naming(names)).order_by()
    if len(key_ids) <= databases.IN_A_QUERY:  # of more, all that name a user are read
        rows = rows.filter(master_key_id__in=key_ids)
    columns = rows.values_list(*NAME, "master_key_id", _ACTIONS, "context", "expires_at")
    found: dict[UUID | None, list[Grant]] = {key_id: [] for key_id in key_ids}
    with explained("The grants on a master key", using):
        for *name, key_id, actions, context, expires_at in columns:
            if tuple(name) in names and key_id in found:
                found[key_id].append(Grant(listed(actions), context.lower(), expires_at))
    return found


NAME = ("principal_type", "principal_id")
_ACTIONS = ExpressionWrapper(F("actions"), JSONField())  # as they are: `listed` takes what it knows


def names_of(principal: Principal, groups: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Return the types and ids by which grants name a user or one of these groups."""
    model = group_model()
    of_groups = {(model._meta.label_lower, group) for group in groups} if model else set()
    return {(principal.type, principal.id), *of_groups}


def naming(names: set[tuple[str, ...]]) -> Q:
    """Return the condition on grants that have one of these names.

    Look at them once more: a database may compare without case, or without spaces at the end.
    """
    ids = defaultdict(list)
    for principal_type, principal_id in names:
        ids[principal_type].append(principal_id)
    # A list for each type, since a user may be in more groups than a database takes conditions.
    of_types = (Q(principal_type=each, principal_id__in=ids[each]) for each in ids)
    return reduce(or_, of_types, Q())


def known_person(principal: Principal) -> Person:
    """Return the user that a principal is; errors as above."""
    with explained(f"The user {principal}"):
        return person(principal)


def listed(actions: Any) -> frozenset[str]:
    """Return the actions in a column that holds any JSON."""
    listed = actions if isinstance(actions, list) else []
    return frozenset(action for action in listed if isinstance(action, str))


@contextmanager
def explained(
    what: str, using: str = "", so: str = ", and without it no user may use the key"
) -> Iterator[None]:
    """Raise what a database raises as `MasterKeyUnusable`: what could not be read, and so what."""
    try:
        yield
    except TransactionManagementError:
        raise
    except DatabaseError as error:
        where = f" from the database {using!r}" if using else ""
        raise MasterKeyUnusable(
            f"{what} could not be read{where} ({type(error).__name__}){so}. {advice(error, using)}"
        ) from error


class PolicyData:
    """What was read since some moment; the keyring keeps it, and drops it when any of it changes.

    At the first of the keys that it is about, the grants on all of them are read.
    """

    __slots__ = ("_about", "_grants", "_users", "admitted", "refused")

    def __init__(self, about: Collection[UUID] = ()) -> None:
        self._about = frozenset(about)
        self._users: dict[Principal, Person] = {}
        self._grants: dict[tuple[Principal, UUID | None], list[Grant]] = {}
        # Who may do what with which key version and where, until anything changes; and of which
        # refusals listeners were notified: a list of a thousand values is one denial.
        self.admitted: set[Any] = set()
        self.refused: set[Any] = set()

    def person(self, principal: Principal) -> Person:
        """Return the user that a principal is; errors as `known_person` raises them."""
        known = self._users.get(principal)
        if known is None:
            known = self._users[principal] = known_person(principal)
        return known

    def grants(self, principal: Principal, key_id: UUID | None, using: str) -> list[Grant]:
        """Return the grants that name a user or their groups; errors as `grants` raises them."""
        known = self._grants.get((principal, key_id))
        if known is None:
            groups = self.person(principal).groups
            found = grants(principal, groups, self._about | {key_id}, using)
            self._grants.update({(principal, each): listed for each, listed in found.items()})
            known = found[key_id]
        return known
