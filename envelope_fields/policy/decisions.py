"""Decisions: whether a principal may do something with a key.

For values, they are made on what is known already. What is asked for, for buttons, pages and lists,
is not recorded; an operation asks again, under its lock.
"""

from collections.abc import Collection, Iterable
from enum import Enum
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.models import KeyGrant, KeyManager, MasterKey
from envelope_fields.policy import data, principals, users
from envelope_fields.policy.attempts import DATA_ACTIONS, OPEN_ACTIONS, Action, Attempt, notify
from envelope_fields.policy.data import KeyPolicy, KeyVersionState, PolicyData
from envelope_fields.policy.principals import ANONYMOUS, APPLICATION, UNBOUND, Principal

CREATE_KEY = "create_key"  # no grant names it: there is no key yet that could have one


class Verdict(Enum):
    """Whether it is allowed, and for how long that is so."""

    REFUSED = 0
    FOR_NOW = 1  # until a time: to be asked again
    ALLOWED = 2  # until anything changes


def acting_principal(attempt: Attempt, actor: Any = None) -> Principal:
    """Return the principal who wants to do something; None is who is bound to this code.

    Raises:
        KeyAccessDenied: the code is unbound where it must not be; listeners were notified.
        TypeError: the actor is neither a user nor a principal.
    """
    try:
        return principals.acting(actor)
    except KeyAccessDenied:
        notify(attempt.denied_to(UNBOUND))
        raise


def verdict(
    attempt: Attempt, principal: Principal, policy: KeyPolicy, known: PolicyData, using: str
) -> Verdict:
    """Return whether a principal may do that.

    Args:
        attempt: what it is.
        principal: who wants to do it.
        policy: what the key says of itself.
        known: where to look up users and grants.
        using: the database of the keys.

    Raises:
        MasterKeyUnusable: users or grants could not be read.
    """
    if attempt.action in DATA_ACTIONS and policy.serves_everybody:
        return Verdict.ALLOWED
    if principal == APPLICATION:
        may = policy.application_use or attempt.action not in DATA_ACTIONS
        return Verdict.ALLOWED if may else Verdict.REFUSED
    if principal in (ANONYMOUS, UNBOUND):
        return Verdict.REFUSED
    person = known.person(principal)
    if not person.is_active:
        return Verdict.REFUSED
    if attempt.action in OPEN_ACTIONS and policy.serves_everybody:
        return Verdict.ALLOWED
    if person.is_superuser and configuration().superusers_bypass_policy:
        return Verdict.ALLOWED
    return _granted(attempt, principal, known, using)


def require(action: Action, key: MasterKey, actor: Any = None, *, using: str) -> Principal:
    """Return the principal of a management act, if it may do that with a key.

    Args and errors are those of `require_on_each`.
    """
    return require_on_each(action, [key], actor, using=using)


def require_on_each(
    action: Action, keys: Collection[MasterKey], actor: Any = None, *, using: str
) -> Principal:
    """Return the principal of one act on several keys, if it may do that with each of them.

    However many there are, it takes as many queries as for one. Of an act on none, no policy says
    who may: the application, and active users.

    Args:
        keys: the rows of the keys, locked: what is asked is read anew, in the act's transaction.
        actor: the user on whose behalf it is done; None is the bound principal.
        using: the database of the keys.

    Raises:
        KeyAccessDenied: it may not; listeners were notified.
        MasterKeyUnusable: users or grants could not be read.
        TypeError: the actor is neither a user nor a principal.
    """
    attempts = [(Attempt(action, key.pk, key.alias), KeyPolicy.of(key)) for key in keys]
    if not attempts:
        return _require_known(Attempt(action, None, None), actor, "It takes a user who is active.")
    known = PolicyData([key.pk for key in keys])
    principal = acting_principal(attempts[0][0], actor)
    for attempt, policy in attempts:
        if verdict(attempt, principal, policy, known, using) is Verdict.REFUSED:
            raise notify(attempt.denied_to(principal)).refused()
    return principal


def require_creator(alias: str, actor: Any = None) -> Principal:
    """Return the principal who makes a key of an alias: the application, or an active user.

    Errors are those of `require_on_each`.
    """
    advice = "The application makes keys, and users who are logged in."
    return _require_known(Attempt(CREATE_KEY, None, alias), actor, advice)


def _require_known(attempt: Attempt, actor: Any, advice: str) -> Principal:
    """Return the principal of an act that no key's policy is about, if it is one of our own."""
    principal = acting_principal(attempt, actor)
    if principal == APPLICATION or data.known_person(principal).is_active:
        return principal
    raise KeyAccessDenied(f"{notify(attempt.denied_to(principal))}. {advice}")


def require_application(action: str, key: MasterKey, actor: Any = None) -> Principal:
    """Return the principal of a named act that no grant allows, if it is the application.

    Errors are those of `require_on_each`.
    """
    attempt = Attempt(action, key.pk, key.alias)
    principal = acting_principal(attempt, actor)
    if principal == APPLICATION:
        return principal
    advice = "Only the application does: run the command on its behalf."
    raise notify(attempt.denied_to(principal)).refused(advice)


def _granted(attempt: Attempt, principal: Principal, known: PolicyData, using: str) -> Verdict:
    best = Verdict.REFUSED
    for grant in known.grants(principal, attempt.key_id, using):
        if attempt.action not in grant.actions or not grant.covers(attempt.field_path):
            continue
        if grant.expires_at is None:
            return Verdict.ALLOWED
        if grant.expires_at > timezone.now():
            best = Verdict.FOR_NOW
    return best


def allowed_actions(
    actions: Iterable[Action], key: MasterKey, actor: Any, *, using: str
) -> set[Action]:
    """Return what `allowed_on_each` does, for one key."""
    return allowed_on_each(actions, [key], actor, using=using)[key.pk]


def allowed_on_each(
    actions: Iterable[Action], keys: Collection[MasterKey], actor: Any, *, using: str
) -> dict[UUID, set[Action]]:
    """Return those of some actions that a user or principal may do with each of some keys now.

    However many keys there are, it takes as many queries as for one.

    Raises:
        MasterKeyUnusable: users or grants could not be read.
        TypeError: the actor is neither a user nor a principal.
    """
    principal, asked = principals.principal_of(actor), tuple(actions)
    known = PolicyData([key.pk for key in keys])

    def may(action: Action, key: MasterKey) -> bool:
        attempt = Attempt(action, key.pk, key.alias)
        answer = verdict(attempt, principal, KeyPolicy.of(key), known, using)
        return answer is not Verdict.REFUSED

    return {key.pk: {action for action in asked if may(action, key)} for key in keys}


def keys_open_to(action: Action, actor: Any, *, using: str) -> Q:
    """Return the condition on master keys that a user or principal may do something with.

    However many keys there are, it takes two queries to make. Errors are those of
    `allowed_on_each`.
    """
    principal, known = principals.principal_of(actor), PolicyData()
    if principal == APPLICATION:
        return Q(application_use=True) if action in DATA_ACTIONS else Q()
    if principal in (ANONYMOUS, UNBOUND) or not (person := known.person(principal)).is_active:
        return Q(pk__in=[])
    if person.is_superuser and configuration().superusers_bypass_policy:
        return Q()
    names = data.names_of(principal, person.groups)
    granted = KeyGrant.objects.using(using).filter(data.naming(names)).order_by()
    rows = granted.values_list(*data.NAME, "master_key_id", "actions", "context", "expires_at")
    now = timezone.now()
    ids: set[UUID] = {
        key_id
        for *name, key_id, actions, context, expires_at in rows
        if tuple(name) in names and action in data.listed(actions) and not context
        if expires_at is None or expires_at > now
    }
    open_to_all = Q(managed_by=KeyManager.APPLICATION) if action in OPEN_ACTIONS else Q(pk__in=[])
    return Q(pk__in=ids) | open_to_all


# -- Values ----------------------------------------------------------------------------------------


def known_actor() -> str | None:
    """Return what decisions about the actor of this code are kept under; None if they are not."""
    actor = principals.bound_actor()
    if actor is None or users.uncommitted():  # what may be rolled back is not kept
        return None
    try:
        return actor.key if isinstance(actor, Principal) else actor.principal().key
    except KeyAccessDenied:  # a user whom no grant can name: the decision says so
        return None


def foreseen(attempt: Attempt, policy: KeyPolicy, known: PolicyData, using: str) -> Verdict:
    """Return whether the bound principal may do that; no denial is recorded.

    Args and errors are those of `admit`.
    """
    if users.uncommitted():
        return Verdict.FOR_NOW
    return verdict(attempt, principals.current_principal(), policy, known, using)


def admit(attempt: Attempt, policy: KeyPolicy, known: PolicyData, using: str) -> bool:
    """Return if the bound principal may do that with data; and whether to keep that.

    Args are those of `verdict`.

    Raises:
        KeyAccessDenied: the principal may not, or the code is unbound where it must not be.
        MasterKeyUnusable: users or grants could not be read.
    """
    bound = principals.bound_actor() is not None
    if bound and policy.serves_everybody:
        return False  # without a look at who it is
    principal = acting_principal(attempt)
    in_doubt = users.uncommitted()
    if in_doubt:
        known = PolicyData()
    answer = verdict(attempt, principal, policy, known, using)
    if answer is Verdict.REFUSED:
        if (principal, attempt) not in known.refused:
            known.refused.add((principal, attempt))
            notify(attempt.denied_to(principal))
        raise attempt.denied_to(principal).refused()
    return bound and not in_doubt and answer is Verdict.ALLOWED


def may(action: Action, version: KeyVersionState) -> bool:
    """Whether the principal who is bound to this code may do something with a key now.

    Errors are those of `admit`, of code that is unbound.
    """
    using = configuration().database
    attempt = Attempt(action, version.key_id, version.alias)
    policy = data.key_policy(version.key_id, using)
    answer = verdict(attempt, principals.current_principal(), policy, PolicyData(), using)
    return answer is not Verdict.REFUSED
