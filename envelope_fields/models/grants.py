"""Who may do what with a master key, as officers have granted it (KMS: CreateGrant)."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models.signals import post_delete
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from envelope_fields.models import key_changes
from envelope_fields.models.choices import ListField
from envelope_fields.models.key_changes import KeyRowQuerySet, announce_saved
from envelope_fields.models.keys import PRINCIPAL_ID_LENGTH, PRINCIPAL_TYPE_LENGTH, MasterKey


class KeyGrant(models.Model):
    """Lets a user, or the users of a group, do named actions on a master key.

    Principals are named by type and primary key as text, since keys may live in another database
    than users: `principal_type` is the lower-cased label of the user or group model.
    """

    master_key = models.ForeignKey(
        MasterKey,
        on_delete=models.DO_NOTHING,  # keys are never deleted
        related_name="grants",
        verbose_name=_("master key"),
    )
    principal_type = models.CharField(_("principal type"), max_length=PRINCIPAL_TYPE_LENGTH)
    principal_id = models.CharField(_("principal id"), max_length=PRINCIPAL_ID_LENGTH)
    actions = ListField(_("actions"), default=list)
    context = models.CharField(
        _("context"),
        max_length=300,
        blank=True,
        help_text=_(
            "Only for values of this model or field: app.model or app.model.field. "
            "Empty: everywhere."
        ),
    )
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects: ClassVar[models.Manager[KeyGrant]] = KeyRowQuerySet["KeyGrant"].as_manager()

    class Meta:
        verbose_name = _("key grant")
        verbose_name_plural = _("key grants")
        ordering: ClassVar = ["master_key", "id"]
        default_permissions = ("add", "delete", "view")  # a grant is replaced, never changed
        indexes: ClassVar = [
            models.Index(fields=["principal_type", "principal_id"], name="envelope_grant_principal")
        ]

    def __str__(self) -> str:
        return f"{self.principal_type} {self.principal_id}: {', '.join(self.actions)}"


def _announce_deleted(*, using: str, **_: Any) -> None:
    key_changes.announce(using)


announce_saved(KeyGrant)
post_delete.connect(_announce_deleted, sender=KeyGrant, dispatch_uid="envelope_fields.announce")
