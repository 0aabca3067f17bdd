"""How often keys were used."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from envelope_fields.models.keys import MasterKeyVersion


class KeyUse(models.Model):
    """How often a key version was used on a day (in UTC), for what, and by which door."""

    version = models.ForeignKey(
        MasterKeyVersion,
        on_delete=models.DO_NOTHING,  # versions are never deleted
        related_name="uses",
        verbose_name=_("version"),
    )
    day = models.DateField(_("day"))
    action = models.CharField(_("action"), max_length=64)
    door = models.CharField(_("door"), max_length=16)  # fields, kms or rotation
    uses = models.BigIntegerField(_("uses"), default=0)

    class Meta:
        verbose_name = _("key use")
        verbose_name_plural = _("key uses")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["version", "day", "action", "door"], name="envelope_fields_key_use"
            )
        ]

    def __str__(self) -> str:
        return f"{self.version}, {self.day}: {self.action} {self.uses}"
