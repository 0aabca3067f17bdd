"""What somebody may do, asked before they try: for buttons, pages and lists. Nobody is told of it.

What is decided here is only what somebody sees; an act asks again, under its lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.models import KeyGrant, KeyManager, MasterKey
from envelope_fields.policy.acting import current_principal
from envelope_fields.policy.actions import DATA_ACTIONS, OPEN_ACTIONS, Action
from envelope_fields.policy.decisions import Attempt, Verdict, verdict
from envelope_fields.policy.facts import (
    NAME,
    Facts,
    KeyPolicy,
    key_policy,
    listed,
    names_of,
    naming,
)
from envelope_fields.policy.principals import ANONYMOUS, APPLICATION, NOBODY, principal_of
from envelope_fields.policy.versions import KeyVersionState


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
    principal, facts = principal_of(actor), Facts()
    policy = KeyPolicy(key.managed_by, key.application_use)
    return {
        action
        for action in actions
        if verdict(Attempt(action, key.pk, key.alias), principal, policy, facts, using)
        is not Verdict.REFUSED
    }


def may(action: Action, version: KeyVersionState) -> bool:
    """Whether the principal who is bound to this code may do something with a key now.

    Raises:
        KeyAccessDenied: none is bound, and one must be.
        MasterKeyUnusable: the key, users or grants could not be read.
    """
    using = configuration().database
    attempt = Attempt(action, version.key_id, version.alias)
    policy = key_policy(version.key_id, using)
    answer = verdict(attempt, current_principal(), policy, Facts(), using)
    return answer is not Verdict.REFUSED


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
    principal, facts = principal_of(actor), Facts()
    if principal == APPLICATION:
        return Q(application_use=True) if action in DATA_ACTIONS else Q()
    if principal in (ANONYMOUS, NOBODY):
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
