"""Conversions of columns, from plaintext or another package's format: how far each is."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from envelope_fields.models.choices import StoredChoices
from envelope_fields.models.key_changes import KeyRowQuerySet, announce_saved


class ConversionKind(StoredChoices):
    """Where the values of a conversion are."""

    LEGACY = "legacy", _("in the same column")  # in another package's format
    COLUMN = "column", _("from a column beside it")  # in clear; see `ColumnPhase`


class ColumnPhase(StoredChoices):
    """What is read and written of a field that takes the place of a column in clear.

    A conversion goes through them in this order, and back from each but the last. It begins with
    the first, of which there may be no row.
    """

    CLEAR = "clear", _("clear")
    BOTH = "both", _("both are written")
    FILLING = "filling", _("being filled")
    VERIFIED = "verified", _("verified")
    ENCRYPTED = "encrypted", _("encrypted is read")
    ONLY = "only", _("only encrypted")

    number: int  # its place among them

    # Whether values are read from the encrypted column, and not from the one in clear; whether they
    # are written into the column in clear, or NULL is; and the same of the encrypted one.
    reads_new: bool
    writes_old: bool
    writes_new: bool


for _number, _phase in enumerate(ColumnPhase):  # asked for every value, and so no properties
    _phase.number = _number
    _phase.reads_new = _phase in (ColumnPhase.ENCRYPTED, ColumnPhase.ONLY)
    _phase.writes_old = _phase is not ColumnPhase.ONLY
    _phase.writes_new = _phase is not ColumnPhase.CLEAR


class ColumnConversion(models.Model):
    """How far the conversion of a column is; one without a row has not begun.

    It is about every table of the field, in all databases and schemas.
    Caches of keys know it, too: a change is known elsewhere within `KEY_CACHE_SECONDS`.
    """

    model = models.CharField(_("model"), max_length=200)  # app_label.Model
    field = models.CharField(_("field"), max_length=200)
    kind = models.CharField(_("kind"), max_length=16)  # a `ConversionKind`
    phase = models.CharField(_("phase"), max_length=16)  # of its kind
    started_at = models.DateTimeField(_("started at"), default=timezone.now)
    changed_at = models.DateTimeField(_("changed at"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished at"), null=True)

    objects: ClassVar[models.Manager[ColumnConversion]] = KeyRowQuerySet[
        "ColumnConversion"
    ].as_manager()

    class Meta:
        verbose_name = _("conversion of a column")
        verbose_name_plural = _("conversions of columns")
        default_permissions = ("change", "view")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "field"], name="envelope_column_conversion")
        ]

    def __str__(self) -> str:
        return f"{self.model}.{self.field}: {self.phase}"


class LegacyRead(models.Model):
    """How often values in another package's format were read in a field on a day."""

    field = models.CharField(_("field"), max_length=300)  # app_label.model.field
    day = models.DateField(_("day"))
    package = models.CharField(_("package"), max_length=100)
    reads = models.BigIntegerField(_("reads"), default=0)
    several_layers = models.BigIntegerField(_("encrypted several times"), default=0)

    class Meta:
        verbose_name = _("day of legacy reads")
        verbose_name_plural = _("days of legacy reads")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["field", "day", "package"], name="envelope_legacy_read")
        ]

    def __str__(self) -> str:
        return f"{self.field} on {self.day}"


announce_saved(ColumnConversion)
