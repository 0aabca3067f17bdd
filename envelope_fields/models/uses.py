"""How often keys were used and when last, and for how long processes may go by what they know."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from envelope_fields.models.keys import MasterKeyVersion


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


class KeyCacheBound(models.Model):
    """For how long any process may go by what it has read of keys: one row, once there is one.

    It is the largest `KEY_CACHE_SECONDS` that a process started with since it was last lowered.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seconds = models.FloatField(_("seconds"))
    lowered_at = models.DateTimeField(_("lowered at"), null=True)
    seconds_before = models.FloatField(_("seconds before that"), default=0)

    class Meta:
        verbose_name = _("bound of key caches")
        verbose_name_plural = _("bounds of key caches")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.seconds:g} s"
