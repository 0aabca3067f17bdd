"""Blind indexes: how far each is, what it was made with, and under which key versions its rows are.

An index is pinned to one version of each of its keys: a rotation of the key changes no row of it.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from envelope_fields.models.choices import StoredChoices
from envelope_fields.models.key_changes import KeyRowQuerySet, protect
from envelope_fields.models.keys import MasterKey, MasterKeyVersion

INDEX_NAME_LENGTH = 300
NORMALIZER_NAME_LENGTH = 200
FINGERPRINT_LENGTH = 32


class IndexState(StoredChoices):
    """How far a blind index is."""

    FILLING = "filling", _("filling")  # every process writes it, and none asks it
    VERIFIED = "verified", _("verified")  # each row has been opened and compared
    READING = "reading", _("reading")  # lookups ask it
    RETIRED = "retired", _("retired")  # permanently: its column is to go


class BlindIndex(models.Model):
    """A column of MACs, by which the values of an encrypted field are found.

    Attributes:
        label: `app_label.model.field` of the column, in lower case.
        name: what its values are MACed for: the kind, a colon, and the label or the shared name.
        normalizer, normalizer_version: what the values were normalised with.
        fingerprint: of that, and of the path, the scope and the tenants' keys where it has them.
        sources: for each encrypted field that it is of, the `labels` that its values are bound to,
            or were, the `path` into its JSON, and the `type` of the values.
        replaces: the label of the index in whose place it comes; empty where there is none.
        required_at: since when no build writes its table that does not write it; None where such
            builds may. Of one that `replaces` another.
    """

    label = models.CharField(_("label"), max_length=INDEX_NAME_LENGTH, editable=False)
    name = models.CharField(_("name"), max_length=INDEX_NAME_LENGTH, editable=False)
    normalizer = models.CharField(
        _("normalizer"), max_length=NORMALIZER_NAME_LENGTH, editable=False
    )
    normalizer_version = models.PositiveIntegerField(_("normalizer version"), editable=False)
    fingerprint = models.CharField(_("fingerprint"), max_length=FINGERPRINT_LENGTH, editable=False)
    sources = models.JSONField(_("sources"), default=list, editable=False)
    state = models.CharField(
        _("state"), max_length=16, choices=IndexState, default=IndexState.FILLING, editable=False
    )
    replaces = models.CharField(
        _("replaces"), max_length=INDEX_NAME_LENGTH, blank=True, default="", editable=False
    )
    required_at = models.DateTimeField(_("required since"), null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    state_changed_at = models.DateTimeField(
        _("state changed at"), default=timezone.now, editable=False
    )

    objects: ClassVar[models.Manager[BlindIndex]] = KeyRowQuerySet["BlindIndex"].as_manager()

    class Meta:
        verbose_name = _("blind index")
        verbose_name_plural = _("blind indexes")
        ordering: ClassVar = ["label"]
        default_permissions = ("change", "view")
        constraints: ClassVar = [
            # Of a field that is `unique` and as long, Django warns each project on MariaDB.
            models.UniqueConstraint(fields=["label"], name="envelope_fields_index_label")
        ]

    def __str__(self) -> str:
        return self.label


class BlindIndexKey(models.Model):
    """The version of a search key that the values of an index are under.

    Indexes that share a name share it, and can be compared.
    """

    name = models.CharField(_("name"), max_length=INDEX_NAME_LENGTH, editable=False)
    master_key = models.ForeignKey(
        MasterKey,
        on_delete=models.DO_NOTHING,  # keys are never deleted
        related_name="+",
        verbose_name=_("master key"),
    )
    version = models.ForeignKey(
        MasterKeyVersion,
        on_delete=models.DO_NOTHING,
        related_name="+",
        verbose_name=_("version"),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects: ClassVar[models.Manager[BlindIndexKey]] = KeyRowQuerySet["BlindIndexKey"].as_manager()

    class Meta:
        verbose_name = _("key of a blind index")
        verbose_name_plural = _("keys of blind indexes")
        ordering: ClassVar = ["name", "pk"]
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name", "master_key"], name="envelope_fields_index_key")
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.version}"

    @property
    def made_id(self) -> bytes:
        return made_id(self.name, bytes(self.version.version_id))


def made_id(name: str, version_id: bytes) -> bytes:
    """Return what the pin of an index to a key version is known by while it is not committed."""
    return version_id + name.encode()


protect(BlindIndex)
protect(BlindIndexKey)
