"""What the user of a request may do: Django's permission and the key's policy, both.

Pages ask here what to show. An act asks the policy again, under its lock, so that what is decided
here is only what somebody sees.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from envelope_fields.conf import configuration
from envelope_fields.lifecycle import Act
from envelope_fields.lifecycle.acts import ACTIONS
from envelope_fields.models import MasterKey
from envelope_fields.policy import Action, Denial, allowed_actions, principal_of, tell

_APP = "envelope_fields"
CODENAMES = {
    Act.ROTATE: "rotate_masterkey",
    Act.ENABLE: "enable_masterkey",
    Act.DISABLE: "disable_masterkey",
    Act.SCHEDULE_DELETION: "schedule_deletion_masterkey",
    Act.CANCEL_DELETION: "cancel_deletion_masterkey",
    Act.SHRED: "shred_masterkey",
    Act.MOVE_ALIAS: "move_alias_masterkey",
    Act.UPDATE: "change_masterkey",
}


def policy_allows(request: HttpRequest, key: MasterKey) -> set[Action]:
    """Return what the key's policy lets the user do; asked once a request."""
    known: dict[Any, set[Action]] = request.__dict__.setdefault("_envelope_fields_rights", {})
    if key.pk not in known:
        using = configuration().database
        known[key.pk] = allowed_actions(Action, key, request.user, using=using)
    return known[key.pk]


def may_act(request: HttpRequest, act: Act, key: MasterKey) -> bool:
    """Whether the user has the permission for an act, and the right to it on this key."""
    return _has(request, CODENAMES[act]) and ACTIONS[act] in policy_allows(request, key)


def may(request: HttpRequest, action: Action, key: MasterKey, codename: str) -> bool:
    """Whether the user has a permission, and the right to an action on this key."""
    return _has(request, codename) and action in policy_allows(request, key)


def refuse(request: HttpRequest, action: Action | str, key: MasterKey | None) -> PermissionDenied:
    """Have an attempt logged and stored, and return the error that makes it a 403."""
    pk, alias = (None, None) if key is None else (key.pk, key.alias)
    tell(Denial(principal_of(request.user), action, pk, alias))
    return PermissionDenied()


def _has(request: HttpRequest, codename: str) -> bool:
    return bool(request.user.has_perm(f"{_APP}.{codename}"))
