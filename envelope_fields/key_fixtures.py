"""Key rows in fixtures: loading them takes no key away from the values stored under it."""

from __future__ import annotations

import logging
from typing import Any

from django.db.models.signals import pre_save

from envelope_fields.lifecycle import AliasTaken
from envelope_fields.models import DEFAULT_ALIAS, MasterKey, MasterKeyVersion

_logger = logging.getLogger(__name__)


def connect() -> None:
    """Prepare the raw saves of key rows."""
    for model, receiver in ((MasterKey, _make_room), (MasterKeyVersion, _find_place)):
        pre_save.connect(receiver, sender=model, dispatch_uid="envelope_fields.key_fixtures")


def _find_place(*, instance: MasterKeyVersion, raw: bool, using: str, **_: Any) -> None:
    """Save a version into its own row, whatever the primary key that it had elsewhere.

    Another version's row would be overwritten otherwise; and a row that is there keeps its
    wrapping, because the root key of an older one may be gone.
    """
    if raw:
        version_id = bytes(instance.version_id)
        there = MasterKeyVersion.objects.using(using).filter(version_id=version_id).first()
        instance.pk = None if there is None else there.pk
        if there is not None:
            instance.wrapped_material = there.wrapped_material
            instance.root_key = there.root_key


def _make_room(*, instance: MasterKey, raw: bool, using: str, **_: Any) -> None:
    """Let the default key that `migrate` made give its alias to the one that a fixture brings.

    It stays, and so do the values under it: envelopes name key versions, not aliases.
    """
    if not raw or instance.alias is None:
        return
    keys = MasterKey.objects.using(using).exclude(pk=instance.pk)
    there = keys.filter(alias=instance.alias).first()
    if there is None:
        return
    if instance.alias != DEFAULT_ALIAS:
        raise AliasTaken(
            f"The fixture brings a master key {instance.pk} with the alias {instance.alias!r}, "
            f"which the master key {there.pk} has in the database {using!r}. Give that one "
            "another alias first: values under it stay readable."
        )
    alias = f"{DEFAULT_ALIAS}/{there.pk}"
    keys.filter(pk=there.pk).update(alias=alias)
    _logger.warning(
        "A fixture brings the master key %r to the database %r; the one that was there is now %r.",
        DEFAULT_ALIAS, using, alias,
    )  # fmt: skip
