"""News of users and groups: what was decided about them is forgotten at once in this process.

Signals tell of what is saved and deleted, `statements` of the rest. Other processes hear of
neither: there it takes effect within `KEY_CACHE_SECONDS`.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save

from envelope_fields.models import key_changes
from envelope_fields.policy import statements
from envelope_fields.policy.people import group_model

_UID = "envelope_fields.policy"
_DECIDING = frozenset({"is_active", "is_superuser"})


def connect() -> None:
    """Listen, once the models are there."""
    if not apps.is_installed("django.contrib.auth"):
        return
    statements.connect()
    for model in models_of(get_user_model()):
        post_save.connect(_saved, sender=model, dispatch_uid=_UID)
        post_delete.connect(_changed, sender=model, dispatch_uid=_UID)
    groups = group_model()
    if groups is not None:
        for model in models_of(groups):
            post_delete.connect(_changed, sender=model, dispatch_uid=_UID)
        membership: Any = get_user_model()._meta.get_field("groups")
        m2m_changed.connect(_changed, sender=membership.remote_field.through, dispatch_uid=_UID)


def models_of(model: type[Model]) -> list[type[Model]]:
    """Return the models that send signals for a row: itself, its proxies and children."""
    return [other for other in apps.get_models() if issubclass(other, model)]


def _saved(
    *, created: bool, update_fields: frozenset[str] | None = None, using: str, **_: Any
) -> None:
    if created:
        key_changes.announce_new_person()
    elif update_fields is None or not _DECIDING.isdisjoint(update_fields):  # a login is no news
        key_changes.announce_people(using)


def _changed(*, using: str, **_: Any) -> None:
    key_changes.announce_people(using)
