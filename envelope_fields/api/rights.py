"""What the user of a request may do: Django's permission and the key's policy, both.

What is decided here is whether an act is tried. The act asks the policy again, under its lock.
"""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.permissions import BasePermission

from envelope_fields.conf import configuration
from envelope_fields.lifecycle import Act
from envelope_fields.lifecycle.acts import ACTIONS
from envelope_fields.models import MasterKey
from envelope_fields.policy import (
    CREATE_KEY,
    Action,
    Denial,
    allowed_actions,
    current_principal,
    tell,
)

VIEW, USE = "view_masterkey", "use_masterkey"
CODENAMES = {act: act.codename for act in Act}


class MayComeIn(BasePermission):
    """Lets in who has one of the permissions that are a view's `door`; what is done takes more."""

    def has_permission(self, request: Any, view: Any) -> bool:
        user = request.user
        return bool(
            user and user.is_authenticated and any(has(request, name) for name in view.door)
        )


def has(request: Any, codename: str) -> bool:
    """Whether the user has a permission of this app."""
    ask = getattr(request.user, "has_perm", None)  # a user model may have no permissions
    return bool(ask and ask(f"envelope_fields.{codename}"))


def permit(request: Any, codename: str) -> None:
    """Return if the user has a permission of this app.

    Raises:
        PermissionDenied: they have not.
    """
    if not has(request, codename):
        raise PermissionDenied(f"It takes the permission envelope_fields.{codename}.")


def see(key: MasterKey | None, wanted: Action = Action.DESCRIBE, *others: Action) -> MasterKey:
    """Return a key that may be seen; one that may not is not there, and the attempt is told.

    Args:
        key: the row of the key, if there is one.
        wanted: what is tried with it.
        others: what else lets somebody see it.

    Raises:
        NotFound: there is no such key, to this principal.
    """
    if key is None:
        raise not_there()
    if not may(key, Action.DESCRIBE, *others):
        told(key, wanted)
        raise not_there()
    return key


def may(key: MasterKey, *actions: Action) -> bool:
    """Whether the policy of a key lets the principal do one of some actions."""
    using = configuration().database
    return bool(allowed_actions(actions, key, current_principal(), using=using))


def permit_on(request: Any, key: MasterKey, action: Action, codename: str) -> None:
    """Return if the user has a permission, and the right to an action on a key.

    Raises:
        PermissionDenied: they have not; the attempt is told.
    """
    try:
        permit(request, codename)
        if not may(key, action):
            raise PermissionDenied(f"It takes a grant of {action} on the key.")
    except PermissionDenied:
        told(key, action)
        raise


def permit_creation(request: Any) -> None:
    """Return if the user has the permission to make keys; errors as above."""
    try:
        permit(request, "add_masterkey")
    except PermissionDenied:
        tell(Denial(current_principal(), CREATE_KEY, None, None))
        raise


def permit_act(request: Any, key: MasterKey, act: Act) -> None:
    """Return if the user may do an act on a key; errors as above."""
    permit_on(request, key, ACTIONS[act], CODENAMES[act])


def told(key: MasterKey, action: Action) -> None:
    """Have an attempt logged and stored."""
    tell(Denial(current_principal(), action, key.pk, key.alias))


def not_there() -> NotFound:
    """Return the one answer for what is not there and for what may not be seen."""
    return NotFound("There is no such key, or you may not see it.")


def no_rotation() -> NotFound:
    """Return that answer for a rotation."""
    return NotFound("There is no such rotation, or you may not see it.")


def nothing_here() -> NotFound:
    """Return the answer for an address that is none, or that is switched off."""
    return NotFound("There is nothing here.")
