"""Users and groups that are deleted take their grants with them.

Else whoever is given the same primary key later would find them.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import post_delete

from envelope_fields import audit
from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.grants.holders import Holder, held_by, name_of
from envelope_fields.grants.holders import holder as holder_named
from envelope_fields.grants.representation import event_content
from envelope_fields.models import KeyGrant
from envelope_fields.policy import NOBODY, Principal, current_principal, people
from envelope_fields.policy.news import models_of

_UID = "envelope_fields.grants"


def connect() -> None:
    """Listen, once the models are there."""
    if not apps.is_installed("django.contrib.auth"):
        return
    for model in models_of(get_user_model()):
        post_delete.connect(_user_deleted, sender=model, dispatch_uid=_UID)
    groups = people.group_model()
    for model in models_of(groups) if groups else ():
        post_delete.connect(_group_deleted, sender=model, dispatch_uid=_UID)


def _user_deleted(*, instance: Model, **_: Any) -> None:
    _remove(Holder(get_user_model()._meta.label_lower, str(instance.pk)), name_of(instance))


def _group_deleted(*, instance: Model, **_: Any) -> None:
    groups = people.group_model()
    if groups is not None:
        _remove(Holder(groups._meta.label_lower, str(instance.pk)), name_of(instance))


def _remove(holder: Holder, name: str) -> None:
    """Remove the grants of somebody; a last one, too: it is void, and the application can grant."""
    using = configuration().database
    rows = KeyGrant.objects.using(using).filter(held_by(holder)).select_related("master_key")
    with transaction.atomic(using=using):
        # All of them before the first event: whoever revokes one locks it before the head of the
        # trail, too.
        named = [grant for grant in rows.order_by("pk") if holder_named(grant) == holder]
        gone = [grant for grant in named if _is_removed(grant, using)]
        for grant in gone:
            before = event_content(grant, name)
            audit.record(
                "revoke_grant", actor=_actor(), using=using, key=grant.master_key, before=before
            )


def _is_removed(grant: KeyGrant, using: str) -> bool:
    """Remove a grant; return whether that was us."""
    return bool(KeyGrant.objects.using(using).filter(pk=grant.pk).delete()[0])


def _actor() -> Principal:
    try:
        return current_principal()
    except KeyAccessDenied:
        return NOBODY  # to delete a user takes no key; the event says what is known
