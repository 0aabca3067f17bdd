"""Key rows in fixtures: loading them takes no key away from the values stored under it."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, TypeVar

from django.db.models.signals import pre_save

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.lifecycle import AliasTaken
from envelope_fields.models import (
    DEFAULT_ALIAS,
    AuditEvent,
    AuditHead,
    AuditKey,
    KeyGrant,
    KeyState,
    KeyUse,
    MasterKey,
    MasterKeyVersion,
    RotationColumn,
    RotationFailure,
    RotationKey,
    RotationRange,
)

_Row = TypeVar("_Row", MasterKey, MasterKeyVersion)
_logger = logging.getLogger(__name__)

# The ids of versions that fixtures have brought, by database and the primary key that they had
# there: what counts their uses names them by that.
_versions_of_fixtures: dict[tuple[str, Any], bytes] = {}


class OtherAuditTrail(EnvelopeError):
    """A fixture brings an audit trail to a database that has another one."""


class OtherRotations(EnvelopeError):
    """A fixture brings rotations to a database that has others under their numbers."""


class VersionNotInFixture(EnvelopeError):
    """A fixture counts the uses of a key version that it does not bring."""


def connect() -> None:
    """Prepare the raw saves of key rows."""
    for model, receiver in (
        (MasterKey, _make_room),
        (MasterKeyVersion, _find_place),
        (AuditKey, _keep_wrapping),
        (AuditHead, _keep_later_head),
        (AuditEvent, _refuse_other_trail),
        (KeyUse, _add_to_uses),
        (KeyGrant, _find_grant),
        (RotationKey, _refuse_other_rotations),
        (RotationColumn, _refuse_other_rotations),
        (RotationRange, _refuse_other_rotations),
        (RotationFailure, _refuse_other_rotations),
    ):
        pre_save.connect(receiver, sender=model, dispatch_uid="envelope_fields.key_fixtures")


def _find_place(*, instance: MasterKeyVersion, raw: bool, using: str, **_: Any) -> None:
    """Save a version into its own row, whatever the primary key that it had elsewhere.

    Another version's row would be overwritten otherwise; and a row that is there keeps its
    wrapping, because the root key of an older one may be gone.
    """
    if raw:
        version_id = bytes(instance.version_id)
        _versions_of_fixtures[using, instance.pk] = version_id
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


def _add_to_uses(*, instance: KeyUse, raw: bool, using: str, **_: Any) -> None:
    """Count uses of the version that the fixture means, which has another number here."""
    if not raw:
        return
    version_id = _versions_of_fixtures.get((using, instance.version_id))
    if version_id is None:
        raise VersionNotInFixture(
            "The fixture counts uses of a master key version that it does not bring, or brings "
            "later: the number by which it names the version means another one here. Dump "
            "envelope_fields.MasterKeyVersion into the same fixture, or leave "
            "envelope_fields.KeyUse out."
        )
    versions = MasterKeyVersion.objects.using(using)
    instance.version_id = versions.values_list("pk", flat=True).get(version_id=version_id)
    uses = KeyUse.objects.using(using).filter(
        version=instance.version_id, day=instance.day, action=instance.action, door=instance.door
    )
    there = uses.first()
    instance.pk = None if there is None else there.pk
    if there is not None:
        _keep_the_larger(instance, there)


def _keep_the_larger(instance: KeyUse, there: KeyUse) -> None:
    """Forget no use: a later one may void the destruction of a key."""
    for field in KeyUse._meta.concrete_fields:
        known = [getattr(row, field.attname) for row in (instance, there)]
        setattr(instance, field.attname, max((v for v in known if v is not None), default=None))


def _find_grant(*, instance: KeyGrant, raw: bool, using: str, **_: Any) -> None:
    """Save a grant into its own row: another one's would be lost otherwise."""
    if raw:
        made = instance.created_at
        made = made.replace(microsecond=made.microsecond // 1000 * 1000)  # as JSON has it
        same = KeyGrant.objects.using(using).filter(
            master_key=instance.master_key_id,
            principal_type=instance.principal_type,
            principal_id=instance.principal_id,
            context=instance.context,
            created_at__range=(made, made + timedelta(microseconds=999)),
        )
        there = same.first()
        instance.pk = None if there is None else there.pk


def _refuse_other_rotations(*, instance: Any, raw: bool, using: str, **_: Any) -> None:
    """Refuse what tells of a rotation where another one has its number."""
    if not raw:
        return
    model = type(instance)
    there = model._default_manager.using(using).filter(pk=instance.pk).first()
    of_its_rotation = ("run_id", "master_key_id", "column_id", "range_id", "pass_number", "number", "row")
    known = [name for name in of_its_rotation if hasattr(instance, name)]
    if there is not None and any(getattr(there, n) != getattr(instance, n) for n in known):
        raise OtherRotations(
            f"The fixture brings the {model._meta.verbose_name} {instance.pk} to the database "
            f"{using!r}, which has another one of that number. Load it into a database without "
            "rotations, or leave them out of it: dumpdata --exclude envelope_fields.RotationRun "
            "--exclude envelope_fields.RotationKey "
            "--exclude envelope_fields.RotationColumn --exclude envelope_fields.RotationRange "
            "--exclude envelope_fields.RotationFailure."
        )
