"""Decisions: whether a principal may do something with a key.

What is asked for, for buttons, pages and lists, is not recorded; an operation asks again, under its
lock.
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
from envelope_fields.policy import data, principals
from envelope_fields.policy.attempts import DATA_ACTIONS, OPEN_ACTIONS, Action, Attempt, notify
from envelope_fields.policy.data import KeyPolicy, PolicyData
from envelope_fields.policy.principals import ANONYMOUS, APPLICATION, UNBOUND, Principal

CREATE_KEY = "create_key"  # no grant names it: there is no key yet that could have one


class Verdict(Enum):
    """Whether it is allowed, and for how long that is so."""

    REFUSED = 0
    FOR_NOW = 1  # until a time: to be asked again
    ALLOWED = 2  # until anything changes


def acting_principal(attempt: Attempt, actor: Any = None) -> Principal:
    """Return the principal who wants to do something.

    Args:
        attempt: what it is.
        actor: the user on whose behalf; None is the principal that is bound to this code.

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
    if attempt.action in DATA_ACTIONS and policy.managed_by == KeyManager.APPLICATION:
        return Verdict.ALLOWED
    if principal == APPLICATION:
        may = policy.application_use or attempt.action not in DATA_ACTIONS
        return Verdict.ALLOWED if may else Verdict.REFUSED
    if principal in (ANONYMOUS, UNBOUND):
        return Verdict.REFUSED
    person = known.person(principal)
    if not person.is_active:
        return Verdict.REFUSED
    if attempt.action in OPEN_ACTIONS and policy.managed_by == KeyManager.APPLICATION:
        return Verdict.ALLOWED
    if person.is_superuser and configuration().superusers_bypass_policy:
        return Verdict.ALLOWED
    return _granted(attempt, principal, known, using)


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
    return require_on_each(action, [key], actor, using=using)


def require_on_each(
    action: Action, keys: Collection[MasterKey], actor: Any = None, *, using: str
) -> Principal:
    """Return the principal of one act on several keys, if it may do that with each of them.

    However many there are, it takes as many queries as for one. Of an act on none, no policy says
    who may: the application, and active users.

    Args:
        action, actor, using: as for `require`.
        keys: the rows of the keys, locked.

    Raises:
        KeyAccessDenied, MasterKeyUnusable, TypeError: as `require` does.
    """
    attempts = [(Attempt(action, key.pk, key.alias), KeyPolicy.of(key)) for key in keys]
    if not attempts:
        return _require_known(Attempt(action, None, None), actor, "It takes a user who is active.")
    known = PolicyData([key.pk for key in keys])
    principal = acting_principal(attempts[0][0], actor)
    for attempt, policy in attempts:
        if verdict(attempt, principal, policy, known, using) is Verdict.REFUSED:
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
    advice = "The application makes keys, and users who are logged in."
    return _require_known(Attempt(CREATE_KEY, None, alias), actor, advice)


def _require_known(attempt: Attempt, actor: Any, advice: str) -> Principal:
    """Return the principal of an act that no key's policy is about, if it is one of our own."""
    principal = acting_principal(attempt, actor)
    if principal == APPLICATION or data.known_person(principal).is_active:
        return principal
    notify(denial := attempt.denied_to(principal))
    raise KeyAccessDenied(f"{denial}. {advice}")


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
    attempt = Attempt(action, key.pk, key.alias)
    principal = acting_principal(attempt, actor)
    if principal == APPLICATION:
        return principal
    notify(attempt.denied_to(principal))
    raise KeyAccessDenied(
        f"{_text(attempt, principal)}. Only the application does: run the command on its behalf."
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
    return KeyAccessDenied(f"{_text(attempt, principal)}. {advice}")


def _text(attempt: Attempt, principal: Principal) -> str:
    """Say what is denied; not which key to anonymous, wherever the message is shown."""
    if principal != ANONYMOUS:
        return str(attempt.denied_to(principal))
    where = f" values of {attempt.field_path}" if attempt.field_path else " with this key"
    return f"anonymous may not {attempt.action}{where}"


def _granted(attempt: Attempt, principal: Principal, known: PolicyData, using: str) -> Verdict:
    best = Verdict.REFUSED
    for grant in known.grants(principal, attempt.key_id, using):
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

    Args and errors are those of `allowed_on_each`.
    """
    return allowed_on_each(actions, [key], actor, using=using)[key.pk]


def allowed_on_each(
    actions: Iterable[Action], keys: Collection[MasterKey], actor: Any, *, using: str
) -> dict[UUID, set[Action]]:
    """Return those of some actions that a user or principal may do with each of some keys now.

    However many keys there are, it takes as many queries as for one.

    Args:
        actions: the actions in question.
        keys: the rows of the keys.
        actor: the user, or a principal.
        using: the database of the keys.

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

    However many keys there are, it takes two queries to make.

    Args:
        action: the action, such as `DESCRIBE`.
        actor: the user, or a principal.
        using: the database of the keys.

    Raises:
        MasterKeyUnusable: the user could not be read.
        TypeError: the actor is neither a user nor a principal.
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
