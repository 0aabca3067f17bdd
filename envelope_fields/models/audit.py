"""What was done with keys: the trail of events, its head, and the key of its MACs."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from envelope_fields.conf import ROOT_KEY_NAME_LENGTH, WRAPPING_KEY_ID_LENGTH
from envelope_fields.models.append_only import AppendOnlyQuerySet, keep, protect
from envelope_fields.models.principals import PRINCIPAL_ID_LENGTH, PRINCIPAL_TYPE_LENGTH
from envelope_fields.models.version_id import VersionIdField

MAC_BYTES = 32
NO_MAC = bytes(MAC_BYTES)  # what the first event has for its predecessor's


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
    """The one row that says which event is the last; whoever appends locks it."""

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


class AuditKey(models.Model):
    """The key of the trail's MACs, wrapped by a root key as a master key version is.

    It is no master key: nobody rotates, disables or destroys it, and nothing else is done with it.
    """

    id = models.UUIDField(_("id"), primary_key=True, default=uuid.uuid4, editable=False)
    version_id = VersionIdField(_("version id"), unique=True, editable=False)
    number = models.PositiveIntegerField(_("number"), unique=True, editable=False)
    wrapped_material = models.BinaryField(_("wrapped material"), editable=False)
    root_key = models.CharField(_("root key"), max_length=ROOT_KEY_NAME_LENGTH, editable=False)
    wrapping_key_id = models.CharField(
        _("wrapping key id"),
        max_length=WRAPPING_KEY_ID_LENGTH,
        default="",
        db_default="",
        blank=True,
        editable=False,
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("key of the audit trail")
        verbose_name_plural = _("keys of the audit trail")
        default_permissions = ()

    def __str__(self) -> str:
        return bytes(self.version_id).hex()

    def __repr__(self) -> str:
        return f"<AuditKey: {self}>"


protect(AuditEvent)
keep(AuditHead)
keep(AuditKey)
