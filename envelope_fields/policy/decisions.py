"""Decisions: whether a principal may do something with a key.

What is asked for, for buttons, pages and lists, is not recorded; an operation asks again, under its
lock.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.models import KeyGrant, KeyManager, MasterKey
from envelope_fields.policy.actions import DATA_ACTIONS, OPEN_ACTIONS, Action
from envelope_fields.policy.data import (
    NAME,
    KeyPolicy,
    PolicyData,
    known_person,
    listed,
    names_of,
    naming,
)
from envelope_fields.policy.denials import Denial, notify
from envelope_fields.policy.principals import (
    ANONYMOUS,
    APPLICATION,
    UNBOUND,
    Principal,
    current_principal,
    principal_of,
)

CREATE_KEY = "create_key"  # no grant names it: there is no key yet that could have one


class Attempt(NamedTuple):
    """What a principal wants to do, with which key, and where.

    Attributes:
        action: the action.
        key_id: the master key.
        key_alias: its alias; None if it has none any more.
        field_path: `app.model.field`, for the value of a field; else empty.
    """

    action: Action
    key_id: UUID
    key_alias: str | None
    field_path: str = ""

    def denied_to(self, principal: Principal) -> Denial:
        return Denial(principal, self.action, self.key_id, self.key_alias, self.field_path)


class Verdict(Enum):
    """Whether it is allowed, and for how long that is so."""

    REFUSED = 0
    FOR_NOW = 1  # until a time: to be asked again
    ALLOWED = 2  # until anything changes


def acting_principal(attempt: Attempt) -> Principal:
    """Return the principal on whose behalf this code runs.

    Raises:
        KeyAccessDenied: the code is unbound where it must not be; listeners were notified.
    """
    try:
        return current_principal()
    except KeyAccessDenied:
        notify(attempt.denied_to(UNBOUND))
        raise


def verdict(
    attempt: Attempt, principal: Principal, policy: KeyPolicy, facts: PolicyData, using: str
) -> Verdict:
    """Return whether a principal may do that.

    Args:
        attempt: what it is.
        principal: who wants to do it.
        policy: what the key says of itself.
        facts: where to look up users and grants.
        using: the database of the keys.

    Raises:
        MasterKeyUnusable: the facts could not be read.
    """
    if attempt.action in DATA_ACTIONS and policy.managed_by == KeyManager.APPLICATION:
        return Verdict.ALLOWED
    if principal == APPLICATION:
        may = policy.application_use or attempt.action not in DATA_ACTIONS
        return Verdict.ALLOWED if may else Verdict.REFUSED
    if principal in (ANONYMOUS, UNBOUND):
        return Verdict.REFUSED
    person = facts.person(principal)
    if not person.is_active:
        return Verdict.REFUSED
    if attempt.action in OPEN_ACTIONS and policy.managed_by == KeyManager.APPLICATION:
        return Verdict.ALLOWED
    if person.is_superuser and configuration().superusers_bypass_policy:
        return Verdict.ALLOWED
    return _granted(attempt, principal, facts, using)


def require(action: Action, key: MasterKey, actor: Any = None, *, using: str) -> Principal:
    """Return the principal of a management act, if it may do that with a key.

    What is asked is read anew, so call it inside of the act's transaction.

    Args:
        action: the action.
        key: the row of the key, locked.
        actor: the user on whose behalf it is done; None is the bound principal.
        using: the database of the keys.

    Raises:
        KeyAccessDenied: it may not; listeners were notified.
        MasterKeyUnusable: users or grants could not be read.
        TypeError: the actor is neither a user nor a principal.
    """
    attempt = Attempt(action, key.pk, key.alias)
    principal = acting_principal(attempt) if actor is None else principal_of(actor)
    policy = KeyPolicy(key.managed_by, key.application_use)
    if verdict(attempt, principal, policy, PolicyData(), using) is Verdict.REFUSED:
        notify(attempt.denied_to(principal))
        raise denied(attempt, principal)
    return principal


def require_creator(alias: str, actor: Any = None) -> Principal:
    """Return the principal who makes a key: the application, or an active user.

    Args:
        alias: of the key.
        actor: the user on whose behalf it is made; None is the bound principal.

    Raises:
        KeyAccessDenied: any other; listeners were notified.
        MasterKeyUnusable: the user could not be read.
        TypeError: the actor is neither a user nor a principal.
    """
    try:
        principal = current_principal() if actor is None else principal_of(actor)
    except KeyAccessDenied:
        notify(Denial(UNBOUND, CREATE_KEY, None, alias))
        raise
    if principal == APPLICATION or known_person(principal).is_active:
        return principal
    denial = Denial(principal, CREATE_KEY, None, alias)
    notify(denial)
    raise KeyAccessDenied(f"{denial}. The application makes keys, and users who are logged in.")


def require_application(action: str, key: MasterKey, actor: Any = None) -> Principal:
    """Return the principal of an act that no grant allows, if it is the application.

    Args:
        action: the name of the act.
        key: the row of the key.
        actor: the user on whose behalf it is done; None is the bound principal.

    Raises:
        KeyAccessDenied: it is any other; listeners were notified.
        TypeError: the actor is neither a user nor a principal.
    """
    try:
        principal = current_principal() if actor is None else principal_of(actor)
    except KeyAccessDenied:
        notify(Denial(UNBOUND, action, key.pk, key.alias))
        raise
    if principal == APPLICATION:
        return principal
    denial = Denial(principal, action, key.pk, key.alias)
    notify(denial)
    raise KeyAccessDenied(
        f"{_text(denial)}. Only the application does: run the command on its behalf."
    )


def denied(attempt: Attempt, principal: Principal) -> KeyAccessDenied:
    """Return the error for what is refused, with the way out.

    Anonymous is not told the key; the log and the trail have it.
    """
    if principal == APPLICATION:
        advice = "The key says that the application may not use it; a user with a grant may."
    elif principal == ANONYMOUS:
        advice = "Log in as a user who has a grant."
    else:
        advice = "It takes a grant on the key: `python manage.py grant_key`, or the admin."
    return KeyAccessDenied(f"{_text(attempt.denied_to(principal))}. {advice}")


def _text(denial: Denial) -> str:
    """Say what is denied; not which key to anonymous, wherever the message is shown."""
    if denial.principal != ANONYMOUS:
        return str(denial)
    where = f" values of {denial.field_path}" if denial.field_path else " with this key"
    return f"anonymous may not {denial.action}{where}"


def _granted(attempt: Attempt, principal: Principal, facts: PolicyData, using: str) -> Verdict:
    best = Verdict.REFUSED
    for grant in facts.grants(principal, attempt.key_id, using):
        if attempt.action not in grant.actions or not _covers(grant.context, attempt.field_path):
            continue
        if grant.expires_at is None:
            return Verdict.ALLOWED
        if grant.expires_at > timezone.now():
            best = Verdict.FOR_NOW
    return best


def _covers(context: str, field_path: str) -> bool:
    """Whether a field path is in a context: itself, or the model or application that it is of."""
    return not context or f"{field_path}.".startswith(f"{context}.")


def allowed_actions(
    actions: Iterable[Action], key: MasterKey, actor: Any, *, using: str
) -> set[Action]:
    """Return those of some actions that a user or principal may do with a key now.

    Args:
        actions: the actions in question.
        key: the row of the key.
        actor: the user, or a principal.
        using: the database of the keys.

    Raises:
        MasterKeyUnusable: users or grants could not be read.
        TypeError: the actor is neither a user nor a principal.
    """
    principal, facts = principal_of(actor), PolicyData()
    policy = KeyPolicy(key.managed_by, key.application_use)
    return {
        action
        for action in actions
        if verdict(Attempt(action, key.pk, key.alias), principal, policy, facts, using)
        is not Verdict.REFUSED
    }


def keys_open_to(action: Action, actor: Any, *, using: str) -> Q:
    """Return the condition on master keys that a user or principal may do something with.

    However many keys there are, it takes two queries to make.

    Args:
        action: the action, such as `DESCRIBE`.
        actor: the user, or a principal.
        using: the database of the keys.

    Raises:
        MasterKeyUnusable: the user could not be read.
        TypeError: the actor is neither a user nor a principal.
    """
    principal, facts = principal_of(actor), PolicyData()
    if principal == APPLICATION:
        return Q(application_use=True) if action in DATA_ACTIONS else Q()
    if principal in (ANONYMOUS, UNBOUND):
        return Q(pk__in=[])
    person = facts.person(principal)
    if not person.is_active:
        return Q(pk__in=[])
    if person.is_superuser and configuration().superusers_bypass_policy:
        return Q()
    names = names_of(principal, person.groups)
    granted = KeyGrant.objects.using(using).filter(naming(names)).order_by()
    rows = granted.values_list(*NAME, "master_key_id", "actions", "context", "expires_at")
    now = timezone.now()
    ids: set[UUID] = {
        key_id
        for *name, key_id, actions, context, expires_at in rows
        if tuple(name) in names and action in listed(actions) and not context
        if expires_at is None or expires_at > now
    }
    open_to_all = Q(managed_by=KeyManager.APPLICATION) if action in OPEN_ACTIONS else Q(pk__in=[])
    return Q(pk__in=ids) | open_to_all
