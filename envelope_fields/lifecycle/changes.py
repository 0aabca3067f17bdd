"""What a master key says of itself, changed (KMS: UpdateKeyDescription, EnableKeyRotation)."""

from __future__ import annotations

from typing import Any

from envelope_fields.conf import configuration
from envelope_fields.lifecycle.acts import Doing, doing, required
from envelope_fields.lifecycle.locking import Key
from envelope_fields.lifecycle.operations import Operation, performs
from envelope_fields.lifecycle.transitions import state_after
from envelope_fields.models import MasterKey, MasterKeyVersion
from envelope_fields.policy import Action

_AS_IT_IS: Any = object()


@performs(Operation.UPDATE)
def update_master_key(
    key: Key,
    *,
    description: str = _AS_IT_IS,
    rotation_period: int | None = _AS_IT_IS,
    application_use: bool = _AS_IT_IS,
    root_key: str | None = _AS_IT_IS,
    actor: Any = None,
) -> MasterKey:
    """Change what is given of a master key; what is left out stays.

    Args:
        key: a master key, its id or its alias.
        description: for people.
        rotation_period: days after which `rotate_due_keys` rotates it, 90 to 2560; None is never.
        application_use: whether the application itself may encrypt and decrypt under it; a grant
            to the application, so it takes the right to manage grants.
        root_key: the name of the root key that wraps its next version, and to which
            `rewrap_master_keys` moves the others; None is the first in the settings.
        actor: as for `create_master_key`; needs the right to rotate the key.

    Raises:
        ValidationError: not a period.
        MasterKeyNotFound: there is no such key.
        MasterKeyUnusable: it is pending deletion, or destroyed.
        KeyAccessDenied: the actor may not.
        ImproperlyConfigured: the settings have no such root key.
    """
    given: dict[str, Any] = {
        "description": description,
        "rotation_period": rotation_period,
        "application_use": application_use,
        "root_key": root_key,
    }
    given = {name: value for name, value in given.items() if value is not _AS_IT_IS}
    if isinstance(key, MasterKeyVersion):
        raise TypeError("A version has none of these; its master key has.")
    if given.get("root_key") is not None:
        configuration().root_key(given["root_key"])
    action = Action.MANAGE_GRANTS if set(given) == {"application_use"} else None
    with doing(Operation.UPDATE, key, actor, action) as done:
        if "application_use" in given:
            required(Action.MANAGE_GRANTS, done.key, actor, done.using)
        state_after(Operation.UPDATE, done.key)
        _update(done, given)
    if isinstance(key, MasterKey):
        for name in given:
            setattr(key, name, getattr(done.key, name))
    return done.key


def _update(done: Doing, given: dict[str, Any]) -> None:
    row = done.key
    before = {name: getattr(row, name) for name in given}
    for name, value in given.items():
        setattr(row, name, value)
    row.clean_fields(exclude={field.name for field in row._meta.fields} - set(given))
    after = {name: getattr(row, name) for name in given}  # as the fields understand them
    changed = [name for name in given if before[name] != after[name]]
    if changed:
        done.set(**{name: after[name] for name in changed})
        done.record(
            Operation.UPDATE,
            {name: before[name] for name in changed},
            {name: after[name] for name in changed},
        )
