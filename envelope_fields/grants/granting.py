"""Handing out rights on a key (KMS: CreateGrant)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _

from envelope_fields import audit
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.grants.contexts import checked_context
from envelope_fields.grants.holders import holder as holder_in
from envelope_fields.grants.holders import holder_of, name_of
from envelope_fields.grants.representation import event_content
from envelope_fields.lifecycle.locking import Key, key_transaction, locked_key
from envelope_fields.models import KeyGrant, KeyState
from envelope_fields.policy import Action, require


def grant(
    key: Key,
    to: Any,
    actions: Iterable[Action | str],
    *,
    context: str = "",
    expires_at: datetime | None = None,
    actor: Any = None,
) -> KeyGrant:
    """Let a user, or the users of a group, do something with a master key (KMS: CreateGrant).

    It holds at once in this process, in others within `KEY_CACHE_SECONDS`. The same grant again is
    the one that is there.

    Args:
        key: a master key, its id or its alias.
        to: a saved user or group.
        actions: an `Action` or more, or their names.
        context: `app.model` or `app.model.field`, to limit encrypt and decrypt to values of it.
        expires_at: when it ends; None is never.
        actor: the user on whose behalf this is done, who needs `manage_grants` on the key; None is
            the principal of the request, or the application.

    Raises:
        ValidationError: an unknown action or context, or a time that is over.
        TypeError: `to` is neither a user nor a group.
        KeyAccessDenied: the actor may not.
        MasterKeyNotFound: there is no such key.
        MasterKeyUnusable: it is destroyed.
    """
    named = _checked_actions(actions)
    place = checked_context(context, named)
    end = _checked_time(expires_at)
    holder = holder_of(to)
    with key_transaction() as using:
        row = locked_key(using, key)
        principal = require(Action.MANAGE_GRANTS, row, actor, using=using)
        if row.state == KeyState.DESTROYED:
            raise MasterKeyUnusable(f"The master key {row} is destroyed; nobody can use it.")
        columns = {
            "principal_type": holder.type,
            "principal_id": holder.id,
            "context": place,
            "expires_at": end,
        }
        for there in row.grants.using(using).filter(**columns):
            if set(there.actions) == set(named) and holder_in(there) == holder:
                return there
        made = KeyGrant(master_key=row, actions=[str(action) for action in named], **columns)
        made.save(using=using, force_insert=True)
        audit.record(
            "create_grant",
            actor=principal,
            using=using,
            key=row,
            after=event_content(made, name_of(to)),
        )
    return made


def _checked_actions(actions: Iterable[Action | str]) -> list[Action]:
    """Return actions in the order of `Action`, each once."""
    given = [actions] if isinstance(actions, str) else list(actions)
    unknown = [action for action in given if action not in set(Action)]
    if unknown or not given:
        what = (
            _("There is no action %(action)r.") % {"action": unknown[0]}
            if unknown
            else _("Name at least one action.")
        )
        valid = _("Valid: %(actions)s.") % {"actions": ", ".join(Action)}
        raise ValidationError({"actions": f"{what} {valid}"})
    return [action for action in Action if action in given]


def _checked_time(expires_at: datetime | None) -> datetime | None:
    if expires_at is None:
        return None
    now = timezone.now()
    if timezone.is_naive(now):  # USE_TZ = False
        expires_at = timezone.make_naive(expires_at) if expires_at.tzinfo else expires_at
    elif timezone.is_naive(expires_at):
        raise ValidationError({"expires_at": _("A time without a time zone: use timezone.now().")})
    if expires_at <= now:
        raise ValidationError({"expires_at": _("This time is over.")})
    return expires_at
