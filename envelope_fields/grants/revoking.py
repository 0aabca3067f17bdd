"""Taking rights on a key away, without locking everybody out (KMS: RevokeGrant)."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from envelope_fields import audit
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.grants.holders import holder, is_effective, name_of, rows_of
from envelope_fields.grants.representation import event_content
from envelope_fields.lifecycle.locking import key_transaction, locked_key
from envelope_fields.models import KeyGrant, KeyState, MasterKey
from envelope_fields.policy import Action, require


class LastGrant(EnvelopeError):
    """Without this grant nobody could hand out rights on the key any more."""


def revoke(grant: KeyGrant, *, actor: Any = None, override: str | None = None) -> None:
    """Take a grant away (KMS: RevokeGrant).

    It ends at once in this process, in others within `KEY_CACHE_SECONDS`. Doing it twice does
    nothing.

    Args:
        grant: its row.
        actor: the user on whose behalf this is done, who needs `manage_grants` on the key; None is
            the principal of the request, or the application.
        override: the alias of the key, to take away the last grant that can manage its grants:
            after that, only the application can.

    Raises:
        KeyAccessDenied: the actor may not.
        LastGrant: it is the last one that can manage grants, and `override` does not name the key.
        MasterKeyNotFound: there is no such key.
    """
    with key_transaction() as using:
        key = locked_key(using, grant.master_key_id)
        principal = require(Action.MANAGE_GRANTS, key, actor, using=using)
        row = key.grants.using(using).filter(pk=grant.pk).first()
        if row is None:
            return
        if override != str(key) and _is_last(row, key, using):
            raise LastGrant(
                f"Nobody else can manage the grants on the master key {key} for as long. Grant "
                "manage_grants to another user or group first; or name the key on purpose: "
                f"override={str(key)!r}, or --override."
            )
        before = event_content(row, name_of(rows_of({holder(row)}).get(holder(row))))
        if key.grants.using(using).filter(pk=row.pk).delete()[0]:  # or its holder was deleted
            audit.record("revoke_grant", actor=principal, using=using, key=key, before=before)


def _is_last(grant: KeyGrant, key: MasterKey, using: str) -> bool:
    """Whether nobody who is there could manage grants for as long as this one says."""
    if key.state == KeyState.DESTROYED:
        return False
    managing = [row for row in key.grants.using(using) if _manages(row)]
    if grant.pk not in {row.pk for row in managing}:
        return False
    lasting = [row for row in managing if _lasts_as_long(row, grant)]
    holders = rows_of({holder(row) for row in lasting})
    effective = {row.pk for row in lasting if is_effective(holders.get(holder(row)))}
    return effective == {grant.pk}


def _lasts_as_long(row: KeyGrant, grant: KeyGrant) -> bool:
    if row.expires_at is None or grant.expires_at is None:
        return row.expires_at is None
    return row.expires_at >= grant.expires_at


def _manages(grant: KeyGrant) -> bool:
    unexpired = grant.expires_at is None or grant.expires_at > timezone.now()
    listed = grant.actions if isinstance(grant.actions, list) else []
    return unexpired and not grant.context and Action.MANAGE_GRANTS in listed
