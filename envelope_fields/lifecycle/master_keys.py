"""Master keys: made, changed, switched on and off, and adopted.

KMS: CreateKey and CreateAlias, UpdateKeyDescription, EnableKeyRotation, EnableKey, DisableKey.
"""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.lifecycle import context
from envelope_fields.lifecycle.aliases import alias_problem, alias_taken
from envelope_fields.lifecycle.context import OperationContext
from envelope_fields.lifecycle.keys import Key, KeyOrVersion, state_after
from envelope_fields.lifecycle.operations import Operation, performs
from envelope_fields.lifecycle.rotation import NewVersion, new_version
from envelope_fields.models import KeyGrant, KeyManager, KeyUsage, MasterKey, MasterKeyVersion
from envelope_fields.policy import APPLICATION, CREATE_KEY, Action, Principal, decisions, require


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
    _refuse_period(key)
    principal, using = decisions.require_creator(alias, actor), configuration().database
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


def _refuse_period(key: MasterKey) -> None:
    """Raise `ValidationError` if a key that makes MACs is to be rotated by the calendar."""
    if key.usage == KeyUsage.GENERATE_VERIFY_MAC and key.rotation_period is not None:
        raise ValidationError(
            {
                "rotation_period": "A key that makes MACs takes no rotation period: what is found "
                "by a blind index stays under the version that the index is pinned to. Rotate it "
                "on demand."
            }
        )


class _Faster(Exception):
    """Another process gave the alias to a key since we looked."""


def _store(key: MasterKey, version: NewVersion, principal: Principal) -> None:
    with context.key_transaction() as using:
        try:
            key.save(using=using, force_insert=True)
        except IntegrityError as error:
            raise _Faster from error
        version.save(using)
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
        description, rotation_period: as for `create_master_key`.
        application_use: the same; a grant to the application, so it takes the right to manage
            grants.
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
        configuration().root_keys[given["root_key"]]  # or it raises
    action = Action.MANAGE_GRANTS if set(given) == {"application_use"} else None
    with context.performing(Operation.UPDATE, key, actor, action) as done:
        if "application_use" in given:
            require(Action.MANAGE_GRANTS, done.key, actor, using=done.using)
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
    _refuse_period(row)
    after = {name: getattr(row, name) for name in given}  # as the fields understand them
    changed = {name: after[name] for name in given if before[name] != after[name]}
    if changed:
        done.set(**changed)
        done.record(Operation.UPDATE, {name: before[name] for name in changed}, changed)


@performs(Operation.ENABLE)
def enable(key: KeyOrVersion, *, actor: Any = None) -> None:
    """Make a disabled master key, or a disabled version of one, usable again (KMS: EnableKey).

    Doing it twice does nothing. Arguments and errors are those of `disable`.
    """
    context.switch(Operation.ENABLE, key, actor)


@performs(Operation.DISABLE)
def disable(key: KeyOrVersion, *, actor: Any = None) -> None:
    """Make a master key, or a version that is not current, unusable (KMS: DisableKey).

    Nothing is encrypted or decrypted under it until it is enabled: at once in this process, in
    others within `KEY_CACHE_SECONDS`. Doing it twice does nothing.

    Args:
        key: a master key, its id, its alias, or a `MasterKeyVersion`.
        actor: as for `create_master_key`.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: the state does not allow it, or the version is the current one.
        KeyAccessDenied: the actor may not.
    """
    context.switch(Operation.DISABLE, key, actor)


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
    with context.locking(key) as (using, row, _version):
        principal = decisions.require_application(Operation.ADOPT, row, actor)
        if not row.serves_fields:
            done = OperationContext(using, principal, row)
            done.set(serves_fields=True)
            done.record(Operation.ADOPT, {"serves_fields": False}, {"serves_fields": True})
    context.update_known(key, row)
