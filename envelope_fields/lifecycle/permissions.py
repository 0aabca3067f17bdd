"""Who may do what with a key: a permission of Django's, and the policy of the key.

The admin and the API ask here what to show, and what to try. An operation asks the policy again,
under its lock.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from envelope_fields.conf import configuration
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.models import MasterKey
from envelope_fields.policy import (
    Action,
    Denial,
    allowed_actions,
    current_principal,
    keys_open_to,
    principal_of,
)
from envelope_fields.policy import notify as notify_denied


def has_permission(user: Any, codename: str) -> bool:
    """Whether a user has a permission of this app."""
    ask = getattr(user, "has_perm", None)  # a user model may have no permissions
    return bool(ask and ask(f"envelope_fields.{codename}"))


def actions_on(key: MasterKey, actor: Any = None) -> set[Action]:
    """Return what the policy of a key lets a user do; None is the current principal."""
    return allowed_actions(Action, key, _principal(actor), using=configuration().database)


def may_on(key: MasterKey, *actions: Action, actor: Any = None) -> bool:
    """Whether the policy of a key lets a user do one of some actions."""
    using = configuration().database
    return bool(allowed_actions(actions, key, _principal(actor), using=using))


def may_perform(user: Any, operation: Operation, key: MasterKey) -> bool:
    """Whether a user has the permission for an operation, and the right to it on a key."""
    return has_permission(user, operation.codename) and may_on(key, operation.action, actor=user)


def open_keys(action: Action, actor: Any = None) -> QuerySet[MasterKey]:
    """Return the keys with which a user may do something, by the policies of the keys."""
    using = configuration().database
    keys = MasterKey.objects.using(using)
    return keys.filter(keys_open_to(action, _principal(actor), using=using))


def record_denial(action: Action | str, key: MasterKey | None, actor: Any = None) -> None:
    """Have a refused attempt logged, and stored in the audit trail."""
    pk, alias = (None, None) if key is None else (key.pk, key.alias)
    notify_denied(Denial(_principal(actor), action, pk, alias))


def _principal(actor: Any) -> Any:
    return current_principal() if actor is None else principal_of(actor)
