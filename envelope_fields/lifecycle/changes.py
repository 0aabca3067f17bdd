"""Changes of a key: its description and period, on and off, into the service of fields."""

from __future__ import annotations

from typing import Any

from envelope_fields.conf import configuration
from envelope_fields.lifecycle.context import (
    OperationContext,
    key_transaction,
    locked_key,
    performing,
    required,
    update_known,
)
from envelope_fields.lifecycle.keys import Key, KeyOrVersion
from envelope_fields.lifecycle.operations import Operation, performs, state_after
from envelope_fields.lifecycle.representation import state_content
from envelope_fields.models import MasterKey, MasterKeyVersion
from envelope_fields.policy import Action, require_application

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
    with performing(Operation.UPDATE, key, actor, action) as done:
        if "application_use" in given:
            required(Action.MANAGE_GRANTS, done.key, actor, done.using)
        state_after(Operation.UPDATE, done.key)
        _update(done, given)
    if isinstance(key, MasterKey):
        for name in given:
            setattr(key, name, getattr(done.key, name))
    return done.key


def _update(done: OperationContext, given: dict[str, Any]) -> None:
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


@performs(Operation.ENABLE)
def enable(key: KeyOrVersion, *, actor: Any = None) -> None:
    """Make a disabled master key, or a disabled version of one, usable again (KMS: EnableKey).

    OperationContext it twice does nothing. Arguments and errors are those of `disable`.
    """
    _switch(Operation.ENABLE, key, actor)


@performs(Operation.DISABLE)
def disable(key: KeyOrVersion, *, actor: Any = None) -> None:
    """Make a master key, or a version that is not current, unusable (KMS: DisableKey).

    Nothing is encrypted or decrypted under it until it is enabled: at once in this process, in
    others within `KEY_CACHE_SECONDS`. OperationContext it twice does nothing.

    Args:
        key: a master key, its id, its alias, or a `MasterKeyVersion`.
        actor: as for `create_master_key`.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: the state does not allow it, or the version is the current one.
        KeyAccessDenied: the actor may not.
    """
    _switch(Operation.DISABLE, key, actor)


def _switch(operation: Operation, key: KeyOrVersion, actor: Any) -> None:
    with performing(operation, key, actor) as done:
        to = state_after(operation, done.row)
        if to != done.row.state:
            before = state_content(done.row)
            done.become(to)
            done.record(operation, before, state_content(done.row))


@performs(Operation.ADOPT)
def adopt(key: Key, *, actor: Any = None) -> None:
    """Let fields that name the alias of a key write under it, though a user made or named it.

    Until then no field does: else a user who took the alias of a key that is not made yet would be
    given what is written under it. Who holds grants on the key keeps them, so look at these first.
    Adopting a key that serves fields does nothing.

    Args:
        key: a master key, its id or its alias.
        actor: the application alone; None is the principal of the request, or the application.

    Raises:
        KeyAccessDenied: a user tries.
        MasterKeyNotFound: there is no such key.
    """
    with key_transaction() as using:
        row = locked_key(using, key)
        principal = require_application(Operation.ADOPT, row, actor)
        if not row.serves_fields:
            done = OperationContext(using, principal, row)
            done.set(serves_fields=True)
            done.record(Operation.ADOPT, {"serves_fields": False}, {"serves_fields": True})
    update_known(key, row)
