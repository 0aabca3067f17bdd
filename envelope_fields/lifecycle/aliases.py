"""Aliases, which fields name, moved from one key to another (KMS: UpdateAlias)."""

from copy import copy
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import IntegrityError

from envelope_fields.census.columns import named_by_fields
from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied, MasterKeyUnusable
from envelope_fields.keyring.rows import lock_for_writing
from envelope_fields.lifecycle import context
from envelope_fields.lifecycle.context import OperationContext
from envelope_fields.lifecycle.keys import Key, found_key, record_denial, state_after
from envelope_fields.lifecycle.operations import Operation, performs
from envelope_fields.models import MasterKey
from envelope_fields.policy import APPLICATION, Action, Attempt, Principal, allowed_actions, require


class AliasTaken(EnvelopeError):
    """Another master key has this alias (KMS: `AlreadyExistsException`)."""


class AliasRefused(KeyAccessDenied):
    """This principal may not give this alias; nothing is said of a key that it may not describe."""


def alias_problem(alias: str, principal: Principal, using: str, act: str) -> EnvelopeError | None:
    """Return what keeps a principal from giving an alias to a new key; None if nothing does.

    Some databases take two that differ in case for the same. The trail names the attempt by `act`.
    """
    owner = MasterKey.objects.using(using).filter(alias=alias).first()
    if owner is None:
        return None
    if principal == APPLICATION or may_know_of(owner, principal, using):
        return alias_taken(alias)
    return alias_refused(alias, owner, principal, act)


def alias_taken(alias: str) -> AliasTaken:
    return AliasTaken(f"Another master key has the alias {alias!r}. Choose another alias.")


def may_know_of(key: MasterKey, principal: Principal, using: str) -> bool:
    """Whether a principal may describe a key."""
    return bool(allowed_actions([Action.DESCRIBE], key, principal, using=using))


def alias_refused(alias: str, owner: MasterKey, principal: Principal, act: str) -> AliasRefused:
    """Record the attempt, and return its error."""
    record_denial(act, owner, principal)
    return AliasRefused(f"You may not give a key the alias {alias!r}. Choose another alias.")


_TRIES = 10


class _Moved(Exception):
    """Another user moved the alias between our look and our lock."""


@performs(Operation.MOVE_ALIAS)
def move_alias(alias: str, key: Key, *, actor: Any = None) -> None:
    """Give an alias to a master key: what names the alias is written under this key from now on.

    The key that had it keeps no alias and is named by its id; values under it stay readable. So is
    the alias that `key` had: a key has one. An alias that no key has is a new name for the key.
    Moving it where it is does nothing. (KMS: UpdateAlias.)

    A user's word puts no key into service: a key that is given its alias by a user serves fields
    only if it did so before, and the key that had the alias did, too. See `adopt`.

    Args:
        alias: the alias, as for `create_master_key`.
        key: the master key that is to have it, its id or its present alias.
        actor: as for `create_master_key`; needs the right to rotate both keys. A name that a field
            declares, and that no key has, is given and taken away by the application alone.

    Raises:
        ValidationError: not an alias.
        AliasTaken: a key has an alias that the database takes for the same, such as in other case.
        AliasRefused: a key has the alias that the actor may not describe.
        MasterKeyNotFound: there is no such key.
        MasterKeyUnusable: it is pending deletion, or destroyed.
        KeyAccessDenied: the actor may not.
    """
    MasterKey(alias=alias).clean_fields(exclude={"id"})
    for _ in range(_TRIES):
        try:
            context.update_known(key, _move(alias, key, actor))
        except _Moved:
            continue
        return
    raise MasterKeyUnusable(f"Others are moving the alias {alias!r} all the time. Try again.")


def _move(alias: str, key: Key, actor: Any) -> MasterKey:
    with context.key_transaction() as using:
        lock_for_writing(using)
        owner, target = _locked_in_order(using, alias, key)
        principal = require(Operation.MOVE_ALIAS.action, target, actor, using=using)
        state_after(Operation.MOVE_ALIAS, target)
        if target.alias == alias:
            return target
        done = OperationContext(using, principal, target)
        if owner is None or owner == target:
            _check_new_name(alias, done)
            serves = _may_serve(done, None)
        else:
            _take_from(owner, alias, done, actor)
            serves = _may_serve(done, owner)
        try:
            _rename(done, alias, serves)
        except IntegrityError as error:  # another user gave it to a new key just now
            raise _Moved from error
    return target


def _take_from(owner: MasterKey, alias: str, done: OperationContext, actor: Any) -> None:
    """Leave the key that has the alias without one, if the actor may."""
    is_person = done.principal != APPLICATION
    if is_person and not may_know_of(owner, done.principal, done.using):
        _check_new_name(alias, done)  # so that it looks as if there were no such key
        raise alias_refused(alias, owner, done.principal, Operation.MOVE_ALIAS)
    if owner.alias != alias:  # the database takes two that differ in case for the same
        raise alias_taken(alias)
    require(Operation.MOVE_ALIAS.action, owner, actor, using=done.using)
    _rename(OperationContext(done.using, done.principal, owner), None, owner.serves_fields)


def _check_new_name(alias: str, done: OperationContext) -> None:
    """Leave names that fields declare to the application, where there is no key to have a say."""
    if done.principal == APPLICATION:
        return
    key = done.key
    leaves = {key.alias} if key.alias and key.serves_fields else set()
    if any(named_by_fields(name) for name in (alias, *leaves)):
        record_denial(Operation.MOVE_ALIAS, key, done.principal)
        denial = Attempt(Operation.MOVE_ALIAS, key.pk, key.alias).denied_to(done.principal)
        raise KeyAccessDenied(
            f"{denial}. Encrypted fields name it, or the alias that it has now: the application "
            "moves it, with `python manage.py move_alias`."
        )


def _may_serve(done: OperationContext, owner: MasterKey | None) -> bool:
    """Whether fields may write under the key by its new alias."""
    key = done.key
    if done.principal == APPLICATION:
        return key.serves_fields or key.creator_type == APPLICATION.type
    return key.serves_fields and owner is not None and owner.serves_fields


def _rename(done: OperationContext, alias: str | None, serves_fields: bool) -> None:
    key = done.key
    before: dict[str, Any] = {"alias": key.alias}
    after: dict[str, Any] = {"alias": alias}
    if serves_fields != key.serves_fields:
        before["serves_fields"], after["serves_fields"] = key.serves_fields, serves_fields
    named = replace(done, key=copy(key))  # as its event names it
    # Before the event, whose lock comes last: who makes a key has the alias before that lock, too.
    done.set(alias=alias, serves_fields=serves_fields)
    named.record(Operation.MOVE_ALIAS, before, after)


def _locked_in_order(using: str, alias: str, key: Key) -> tuple[MasterKey | None, MasterKey]:
    """Lock the key that has the alias, if one has, and the one that is to have it.

    In one order, whatever is moved where, so that no two users wait for each other.
    """
    target_id, owner_id = found_key(using, key).pk, _owner_id(using, alias)
    rows = {row.pk: row for row in context.locked_keys(using, {target_id, owner_id or target_id})}
    target = rows[target_id]
    if _owner_id(using, alias) != owner_id or (isinstance(key, str) and target.alias != key):
        raise _Moved
    return rows[owner_id] if owner_id else None, target


def _owner_id(using: str, alias: str) -> UUID | None:
    return MasterKey.objects.using(using).filter(alias=alias).values_list("pk", flat=True).first()
