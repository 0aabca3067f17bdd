"""Taking rights on a key away (KMS: RevokeGrant), also from users and groups that are deleted.

Otherwise a user who is given the same primary key later would have them.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import post_delete
from django.utils import timezone

from envelope_fields import audit
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied
from envelope_fields.grants.grantees import (
    Grantee,
    granted_to,
    grantee,
    is_effective,
    name_of,
    rows_of,
)
from envelope_fields.grants.representation import event_content
from envelope_fields.lifecycle.context import key_transaction, locked_key
from envelope_fields.models import KeyGrant, KeyState, MasterKey
from envelope_fields.policy import UNBOUND, Action, Principal, current_principal, require, users
from envelope_fields.policy.users import models_of

_UID = "envelope_fields.grants"


class LastGrant(EnvelopeError):
    """Without this grant, only the application could hand out rights on the key."""


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
                f"No other grantee can manage the grants on the master key {key} for as long. "
                "Grant manage_grants to another user or group first; or name the key on purpose: "
                f"override={str(key)!r}, or --override."
            )
        before = event_content(row, name_of(rows_of({grantee(row)}).get(grantee(row))))
        if key.grants.using(using).filter(pk=row.pk).delete()[0]:  # or its grantee was deleted
            audit.record("revoke_grant", actor=principal, using=using, key=key, before=before)


def _is_last(grant: KeyGrant, key: MasterKey, using: str) -> bool:
    """Whether no other grantee could manage grants for as long as this one lasts."""
    if key.state == KeyState.DESTROYED:
        return False
    managing = [row for row in key.grants.using(using) if _manages(row)]
    if grant.pk not in {row.pk for row in managing}:
        return False
    lasting = [row for row in managing if _lasts_as_long(row, grant)]
    grantees = rows_of({grantee(row) for row in lasting})
    effective = {row.pk for row in lasting if is_effective(grantees.get(grantee(row)))}
    return effective == {grant.pk}


def _lasts_as_long(row: KeyGrant, grant: KeyGrant) -> bool:
    if row.expires_at is None or grant.expires_at is None:
        return row.expires_at is None
    return row.expires_at >= grant.expires_at


def _manages(grant: KeyGrant) -> bool:
    unexpired = grant.expires_at is None or grant.expires_at > timezone.now()
    listed = grant.actions if isinstance(grant.actions, list) else []
    return unexpired and not grant.context and Action.MANAGE_GRANTS in listed


def connect() -> None:
    """Listen for users and groups that are deleted, once the models are there."""
    if not apps.is_installed("django.contrib.auth"):
        return
    for model in models_of(get_user_model()):
        post_delete.connect(_user_deleted, sender=model, dispatch_uid=_UID)
    groups = users.group_model()
    for model in models_of(groups) if groups else ():
        post_delete.connect(_group_deleted, sender=model, dispatch_uid=_UID)


def _user_deleted(*, instance: Model, **_: Any) -> None:
    _remove(Grantee(get_user_model()._meta.label_lower, str(instance.pk)), name_of(instance))


def _group_deleted(*, instance: Model, **_: Any) -> None:
    groups = users.group_model()
    if groups is not None:
        _remove(Grantee(groups._meta.label_lower, str(instance.pk)), name_of(instance))


def _remove(deleted: Grantee, name: str) -> None:
    """Remove the grants of a grantee, also a last one, which is void."""
    using = configuration().database
    rows = KeyGrant.objects.using(using).filter(granted_to(deleted)).select_related("master_key")
    with transaction.atomic(using=using):
        # All of them before the first event: `revoke` locks one before the head of the trail, too.
        named = [grant for grant in rows.order_by("pk") if grantee(grant) == deleted]
        gone = [grant for grant in named if _is_removed(grant, using)]
        for grant in gone:
            before = event_content(grant, name)
            audit.record(
                "revoke_grant", actor=_actor(), using=using, key=grant.master_key, before=before
            )


def _is_removed(grant: KeyGrant, using: str) -> bool:
    """Remove a grant; return whether it was there."""
    return bool(KeyGrant.objects.using(using).filter(pk=grant.pk).delete()[0])


def _actor() -> Principal:
    try:
        return current_principal()
    except KeyAccessDenied:
        return UNBOUND  # to delete a user takes no key; the event says what is known
