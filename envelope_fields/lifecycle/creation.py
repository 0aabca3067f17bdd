"""New master keys (KMS: CreateKey and CreateAlias)."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.lifecycle.aliases import alias_problem, alias_taken
from envelope_fields.lifecycle.context import OperationContext, key_transaction
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.rotation import new_version
from envelope_fields.models import KeyGrant, KeyManager, KeyUsage, MasterKey, MasterKeyVersion
from envelope_fields.policy import APPLICATION, CREATE_KEY, Action, Principal, require_creator


def create_master_key(
    alias: str,
    *,
    description: str = "",
    managed_by: str = KeyManager.CUSTOMER,
    application_use: bool = True,
    rotation_period: int | None = None,
    usage: str = KeyUsage.ENCRYPT_DECRYPT,
    root_key: str | None = None,
    actor: Any = None,
) -> MasterKey:
    """Make a master key with its first version (KMS: CreateKey and CreateAlias).

    A key that a user makes serves no field that names its alias until the application adopts it.

    Args:
        alias: letters, digits and `/ _ . : @ -`, at most 200; what fields name in `key=`.
        description: for people.
        managed_by: a `KeyManager`. A key of the application serves all users who have access to it;
            a customer's serves the application, and the users whom grants name.
        application_use: whether the application itself may encrypt and decrypt under it.
        rotation_period: days after which `rotate_due_keys` rotates it, 90 to 2560; None is never.
        usage: a `KeyUsage`, what its material is for; never changed.
        root_key: the name of the root key that wraps it; None is the first in the settings.
        actor: the user on whose behalf this is done, who may do everything with the new key;
            None is the principal of the request, or the application.

    Raises:
        ValidationError: not an alias, a period or a usage.
        AliasTaken: another key has it.
        AliasRefused: so it is, and the actor may not describe that key.
        KeyAccessDenied: the actor is anonymous, or a user who is inactive or gone.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
    """
    now = timezone.now()
    key = MasterKey(
        alias=alias,
        description=description,
        managed_by=managed_by,
        application_use=application_use,
        rotation_period=rotation_period,
        usage=usage,
        root_key=root_key,
        created_at=now,
        state_changed_at=now,
    )
    key.clean_fields()
    principal, using = require_creator(alias, actor), configuration().database
    key.creator_type, key.creator_id = principal.type, principal.id
    key.serves_fields = principal == APPLICATION
    # Looked up before the transaction, which writes first: SQLite lets none write that has read
    # before another one wrote.
    problem = alias_problem(alias, principal, using, CREATE_KEY)
    if problem is not None:
        raise problem
    version = new_version(key, 1)
    try:
        _store(key, version, principal)
    except _Faster as error:
        raise alias_problem(alias, principal, using, CREATE_KEY) or alias_taken(alias) from error
    return key


class _Faster(Exception):
    """Another process gave the alias to a key since we looked."""


def _store(key: MasterKey, version: MasterKeyVersion, principal: Principal) -> None:
    with key_transaction() as using:
        try:
            key.save(using=using, force_insert=True)
        except IntegrityError as error:
            raise _Faster from error
        version.save(using=using, force_insert=True)
        done = OperationContext(using, principal, key)
        done.record(CREATE_KEY, {}, _content(key))
        if principal != APPLICATION:
            _grant_everything(done)


def _grant_everything(done: OperationContext) -> None:
    """Let a user do everything with the key they made, as KMS lets the account that makes one."""
    grant = KeyGrant(
        master_key=done.key,
        principal_type=done.principal.type,
        principal_id=done.principal.id,
        actions=sorted(Action),
    )
    grant.save(using=done.using, force_insert=True)
    granted = {"principal": str(done.principal), "actions": grant.actions}
    done.record(Operation.CREATE_GRANT, {}, {"grant": grant.pk, **granted})


def _content(key: MasterKey) -> dict[str, Any]:
    content: dict[str, Any] = {
        "alias": key.alias,
        "managed_by": str(key.managed_by),
        "application_use": key.application_use,
        "rotation_period": key.rotation_period,
    }
    if key.usage != KeyUsage.ENCRYPT_DECRYPT:
        content["usage"] = str(key.usage)
    if key.root_key is not None:
        content["root_key"] = key.root_key
    return content
