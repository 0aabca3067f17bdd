"""What was done with keys: the trail of events, its head, the key of its MACs, and uses of keys.

Events are added and never changed: what Django would do to them otherwise is refused. The database
refuses it too, by triggers; this is for the clear words.
"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar, NoReturn, TypeVar

from django.db import models
from django.db.models.signals import pre_delete, pre_save
from django.utils.translation import gettext_lazy as _

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models.keys import (
    PRINCIPAL_ID_LENGTH,
    PRINCIPAL_TYPE_LENGTH,
    MasterKeyVersion,
    WrappedMaterial,
)

_Row = TypeVar("_Row", bound=models.Model)

MAC_BYTES = 32
NO_MAC = bytes(MAC_BYTES)  # what the first event has for its predecessor's


class AuditEventProtected(EnvelopeError):
    """Events of the audit trail are added by `envelope_fields.audit`, and stay as they are."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Audit events are not {what}: the trail is append-only, and would no longer prove "
            "what it proves. envelope_fields.audit.record() adds to it."
        )


class AuditChainProtected(EnvelopeError):
    """What events are chained with is never deleted."""

    def __init__(self, row: models.Model) -> None:
        super().__init__(
            f"The {row._meta.verbose_name} is not deleted: no event could be added any more, and "
            "nothing that needs one could be done."
        )


class AppendOnlyQuerySet(models.QuerySet[_Row]):
    """Refuses what would change rows, or add them past the chain."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise AuditEventProtected("updated")

    def delete(self) -> NoReturn:
        raise AuditEventProtected("deleted")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AuditEventProtected("updated")

    def bulk_create(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AuditEventProtected("created in bulk")


def _refuse_change(*, instance: models.Model, raw: bool, **_: Any) -> None:
    if not raw and not instance._state.adding:
        raise AuditEventProtected("updated")


def _refuse_deletion(**_: Any) -> None:
    raise AuditEventProtected("deleted")


def _refuse_loss(*, instance: models.Model, **_: Any) -> None:
    raise AuditChainProtected(instance)


class AuditOutcome(models.TextChoices):
    """How an act ended."""

    DONE = "done", _("done")
    DENIED = "denied", _("denied")


class AuditEvent(models.Model):
    """One management act, or one denied attempt: numbered without gaps, and chained by a MAC.

    `envelope_fields.audit.record` writes it; it is never changed and never deleted.
    """

    number = models.BigIntegerField(_("number"), primary_key=True)
    # By which the database itself refuses a fork, and to let go of an event.
    previous = models.OneToOneField(
        "self",
        null=True,
        on_delete=models.DO_NOTHING,  # whatever is deleted refuses by itself
        related_name="+",
        verbose_name=_("previous event"),
    )
    occurred_at = models.DateTimeField(_("occurred at"))
    action = models.CharField(_("action"), max_length=64)
    outcome = models.CharField(_("outcome"), max_length=8, choices=AuditOutcome)
    actor_type = models.CharField(_("actor type"), max_length=PRINCIPAL_TYPE_LENGTH)
    actor_id = models.CharField(_("actor id"), max_length=PRINCIPAL_ID_LENGTH, blank=True)
    actor_name = models.CharField(_("actor"), max_length=254, blank=True)
    key_id = models.UUIDField(_("key id"), null=True)
    key_alias = models.CharField(_("key"), max_length=200, blank=True)
    version_number = models.PositiveIntegerField(_("version"), null=True)
    before = models.JSONField(_("before"), default=dict)
    after = models.JSONField(_("after"), default=dict)
    address = models.CharField(_("address"), max_length=45, blank=True)
    request_id = models.CharField(_("request id"), max_length=200, blank=True)
    mac_version = models.BinaryField(_("version of the MAC key"), max_length=8)
    mac = models.BinaryField(_("MAC"), max_length=MAC_BYTES)

    objects: ClassVar[models.Manager[AuditEvent]] = AppendOnlyQuerySet["AuditEvent"].as_manager()

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        ordering: ClassVar = ["-number"]
        default_permissions = ("view",)
        indexes: ClassVar = [
            models.Index(fields=["key_id", "-number"], name="envelope_audit_key"),
            models.Index(fields=["actor_type", "actor_id", "-number"], name="envelope_audit_actor"),
            models.Index(fields=["action", "-number"], name="envelope_audit_action"),
            models.Index(fields=["-occurred_at"], name="envelope_audit_time"),
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.action} {self.key_alias}".rstrip()


class AuditHead(models.Model):
    """The one row that says which event is the last; it is locked to append another one."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    last = models.OneToOneField(
        AuditEvent,
        null=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        verbose_name=_("last event"),
    )
    mac = models.BinaryField(_("MAC"), max_length=MAC_BYTES, default=NO_MAC)

    class Meta:
        verbose_name = _("head of the audit trail")
        verbose_name_plural = _("heads of the audit trail")
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.number)

    @property
    def number(self) -> int:
        """The number of the last event; 0 where there is none yet."""
        return self.last_id or 0


class AuditKey(WrappedMaterial):
    """The key of the trail's MACs, wrapped by a root key as a master key version is.

    It is not a master key: it is not rotated, disabled or destroyed, and serves nothing else.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid.uuid4, editable=False)
    number = models.PositiveIntegerField(_("number"), unique=True, editable=False)

    class Meta:
        verbose_name = _("key of the audit trail")
        verbose_name_plural = _("keys of the audit trail")
        default_permissions = ()

    def __str__(self) -> str:
        return bytes(self.version_id).hex()


class KeyUse(models.Model):
    """How often a key version was used on a day (in UTC), by which channel for what, and when last.

    The first use by `kms` of a day is recorded before it is counted: then `uses` is 0 for a while.
    """

    version = models.ForeignKey(
        MasterKeyVersion,
        on_delete=models.DO_NOTHING,  # versions are never deleted
        related_name="uses",
        verbose_name=_("version"),
    )
    day = models.DateField(_("day"))
    action = models.CharField(_("action"), max_length=64)
    channel = models.CharField(_("channel"), max_length=16)  # fields, kms or rotation
    uses = models.BigIntegerField(_("uses"), default=0)
    # NULL where it was only refused.
    used_at = models.DateTimeField(_("last used at"), null=True)
    # What the state of the version, or of its key, did not allow.
    refused = models.BigIntegerField(_("refused attempts"), default=0, db_default=0)
    refused_at = models.DateTimeField(_("last refused at"), null=True)

    class Meta:
        verbose_name = _("key use")
        verbose_name_plural = _("key uses")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["version", "day", "action", "channel"], name="envelope_fields_key_use"
            )
        ]

    def __str__(self) -> str:
        return f"{self.version}, {self.day}: {self.action} {self.uses}"


_UID = "envelope_fields.append_only"
pre_save.connect(_refuse_change, sender=AuditEvent, dispatch_uid=_UID)
pre_delete.connect(_refuse_deletion, sender=AuditEvent, dispatch_uid=_UID)
pre_delete.connect(_refuse_loss, sender=AuditHead, dispatch_uid=_UID)  # no trail goes on without
pre_delete.connect(_refuse_loss, sender=AuditKey, dispatch_uid=_UID)
