"""Aliases, which fields name, moved from one key to another (KMS: UpdateAlias)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import IntegrityError

from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring.rows import lock_for_writing
from envelope_fields.lifecycle.acts import ACTIONS, Doing, required, tell
from envelope_fields.lifecycle.creation import alias_taken
from envelope_fields.lifecycle.locking import Key, found_key, key_transaction, locked_key
from envelope_fields.lifecycle.transitions import Act, state_after
from envelope_fields.models import MasterKey

_TRIES = 10


class _Moved(Exception):
    """Somebody moved the alias between our look and our lock."""


def move_alias(alias: str, key: Key, *, actor: Any = None) -> None:
    """Give an alias to a master key: what names the alias is written under this key from now on.

    The key that had it keeps no alias and is named by its id; values under it stay readable. So is
    the alias that `key` had: a key has one. An alias that nobody has is a new name for the key.
    Moving it where it is does nothing. (KMS: UpdateAlias.)

    Args:
        alias: the alias, as for `create_master_key`.
        key: the master key that is to have it, its id or its present alias.
        actor: as for `create_master_key`; needs the right to rotate both keys.

    Raises:
        ValidationError: not an alias.
        AliasTaken: a key has an alias that the database takes for the same, such as in other case.
        MasterKeyNotFound: there is no such key.
        MasterKeyUnusable: it is pending deletion, or destroyed.
        KeyAccessDenied: the actor may not.
    """
    MasterKey(alias=alias).clean_fields(exclude={"id"})
    for _ in range(_TRIES):
        try:
            tell(key, _move(alias, key, actor))
        except _Moved:
            continue
        return
    raise MasterKeyUnusable(f"Others are moving the alias {alias!r} all the time. Try again.")


def _move(alias: str, key: Key, actor: Any) -> MasterKey:
    with key_transaction() as using:
        lock_for_writing(using)
        holder, target = _locked_in_order(using, alias, key)
        principal = required(ACTIONS[Act.MOVE_ALIAS], target, actor, using)
        state_after(Act.MOVE_ALIAS, target)
        if target.alias == alias:
            return target
        if holder is not None and holder != target:
            if holder.alias != alias:  # the database takes two that differ in case for the same
                raise alias_taken(alias)
            required(ACTIONS[Act.MOVE_ALIAS], holder, actor, using)
            _rename(Doing(using, principal, holder), None)
        try:
            _rename(Doing(using, principal, target), alias)
        except IntegrityError as error:  # somebody gave it to a new key just now
            raise alias_taken(alias) from error
    return target


def _rename(done: Doing, alias: str | None) -> None:
    before = done.key.alias
    done.record(Act.MOVE_ALIAS, {"alias": before}, {"alias": alias})
    done.set(alias=alias)


def _locked_in_order(using: str, alias: str, key: Key) -> tuple[MasterKey | None, MasterKey]:
    """Lock the key that has the alias, if one has, and the one that is to have it.

    In one order, whatever is moved where, so that no two operators wait for each other.
    """
    target_id, holder_id = found_key(using, key).pk, _holder_id(using, alias)
    rows = {pk: locked_key(using, pk) for pk in sorted({target_id, holder_id or target_id})}
    target = rows[target_id]
    if _holder_id(using, alias) != holder_id or (isinstance(key, str) and target.alias != key):
        raise _Moved
    return rows[holder_id] if holder_id else None, target


def _holder_id(using: str, alias: str) -> UUID | None:
    return MasterKey.objects.using(using).filter(alias=alias).values_list("pk", flat=True).first()
