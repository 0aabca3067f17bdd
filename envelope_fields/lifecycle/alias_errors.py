"""Why an alias cannot be given to a key: another one has it, which not everybody may know of."""

from __future__ import annotations

from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied
from envelope_fields.models import MasterKey
from envelope_fields.policy import (
    APPLICATION,
    Action,
    Denial,
    Principal,
    allowed_actions,
    tell,
)


class AliasTaken(EnvelopeError):
    """Another master key has this alias (KMS: `AlreadyExistsException`)."""


class AliasRefused(KeyAccessDenied):
    """This principal may not give this alias; it is not told of a key that it may not describe."""


def alias_problem(alias: str, principal: Principal, using: str, act: str) -> EnvelopeError | None:
    """Return what keeps a principal from giving an alias to a new key; None if nothing does.

    Args:
        alias: the alias. Some databases take two that differ in case for the same.
        principal: who wants to give it.
        using: the database of the keys.
        act: what for, as the trail names it.
    """
    holder = MasterKey.objects.using(using).filter(alias=alias).first()
    if holder is None:
        return None
    if principal == APPLICATION or may_know_of(holder, principal, using):
        return alias_taken(alias)
    return alias_refused(alias, holder, principal, act)


def alias_taken(alias: str) -> AliasTaken:
    return AliasTaken(f"Another master key has the alias {alias!r}. Choose another alias.")


def may_know_of(key: MasterKey, principal: Principal, using: str) -> bool:
    """Whether a principal may describe a key."""
    return bool(allowed_actions([Action.DESCRIBE], key, principal, using=using))


def alias_refused(alias: str, holder: MasterKey, principal: Principal, act: str) -> AliasRefused:
    """Have the attempt told, and return its error."""
    tell(Denial(principal, act, holder.pk, holder.alias))
    return AliasRefused(f"You may not give a key the alias {alias!r}. Choose another alias.")
