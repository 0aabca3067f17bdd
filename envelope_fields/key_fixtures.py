"""Key rows in fixtures: loading them takes no key away from the values stored under it."""

from __future__ import annotations

import logging
from typing import Any, TypeVar

from django.db.models.signals import pre_save

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.lifecycle import AliasTaken
from envelope_fields.models import (
    DEFAULT_ALIAS,
    AuditEvent,
    AuditHead,
    AuditKey,
    KeyState,
    MasterKey,
    MasterKeyVersion,
)

_Row = TypeVar("_Row", MasterKey, MasterKeyVersion)
_logger = logging.getLogger(__name__)


class OtherAuditTrail(EnvelopeError):
    """A fixture brings an audit trail to a database that has another one."""


def connect() -> None:
    """Prepare the raw saves of key rows."""
    for model, receiver in (
        (MasterKey, _make_room),
        (MasterKeyVersion, _find_place),
        (AuditKey, _keep_wrapping),
        (AuditHead, _keep_later_head),
        (AuditEvent, _refuse_other_trail),
    ):
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
            _leave_destroyed(instance, there, using)


def _make_room(*, instance: MasterKey, raw: bool, using: str, **_: Any) -> None:
    """Let the default key that `migrate` made give its alias to the one that a fixture brings.

    It stays, and so do the values under it: envelopes name key versions, not aliases.
    """
    if raw:
        _leave_destroyed(
            instance, MasterKey.objects.using(using).filter(pk=instance.pk).first(), using
        )
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


def _leave_destroyed(instance: _Row, there: _Row | None, using: str) -> None:
    """Let nothing come back that was destroyed: somebody may have certified that it is gone.

    Whoever wants it back loads the fixture into an empty database.
    """
    if there is None or there.state != KeyState.DESTROYED:
        return
    if instance.state != KeyState.DESTROYED:
        _logger.warning(
            "A fixture brings %s to the database %r, where it is destroyed. It stays destroyed.",
            there, using,
        )  # fmt: skip
    for field in there._meta.concrete_fields:
        setattr(instance, field.attname, getattr(there, field.attname))


def _keep_wrapping(*, instance: AuditKey, raw: bool, using: str, **_: Any) -> None:
    """Leave the key of the audit trail as it is wrapped, where it is there."""
    there = AuditKey.objects.using(using).filter(pk=instance.pk).first() if raw else None
    if there is not None:
        instance.wrapped_material = there.wrapped_material
        instance.root_key = there.root_key


def _keep_later_head(*, instance: AuditHead, raw: bool, using: str, **_: Any) -> None:
    """Leave the head where it is, if events came after those of the fixture."""
    there = AuditHead.objects.using(using).filter(pk=instance.pk).first() if raw else None
    if there is not None and (instance.last_id or 0) <= (there.last_id or 0):
        instance.last_id, instance.mac = there.last_id, there.mac


def _refuse_other_trail(*, instance: AuditEvent, raw: bool, using: str, **_: Any) -> None:
    """Refuse an event where there is another one of its number: a trail cannot be merged."""
    there = AuditEvent.objects.using(using).filter(pk=instance.pk).first() if raw else None
    if there is not None and bytes(there.mac) != bytes(instance.mac):
        raise OtherAuditTrail(
            f"The fixture brings an audit trail to the database {using!r}, which has one: they "
            f"differ in event {instance.pk}. Load it into a database without events, or leave the "
            "trail out of it: dumpdata --exclude envelope_fields.AuditEvent "
            "--exclude envelope_fields.AuditHead --exclude envelope_fields.AuditKey."
        )
