"""Master keys and their versions: state and constraints. No plaintext key comes near here."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar, TypeVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_save, pre_delete
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from envelope_fields import key_changes
from envelope_fields.conf import ROOT_KEY_NAME_LENGTH
from envelope_fields.exceptions import EnvelopeError

DEFAULT_ALIAS = "default"

_Row = TypeVar("_Row", bound=models.Model)


class KeyState(models.TextChoices):
    """The states of a master key and of each of its versions, as KMS names them."""

    ENABLED = "enabled", _("enabled")
    DISABLED = "disabled", _("disabled")
    PENDING_DELETION = "pending_deletion", _("pending deletion")
    DESTROYED = "destroyed", _("destroyed")


class KeyUsage(models.TextChoices):
    """What the material of a master key is for; it is bound into the wrapping (KMS KeyUsage)."""

    ENCRYPT_DECRYPT = "encrypt_decrypt", _("encrypt and decrypt")


class KeyRowProtected(models.ProtectedError, EnvelopeError):
    """Key rows are never deleted: values under them could not be read any more."""

    def __init__(self, row: models.Model) -> None:
        super().__init__(
            f"{row} cannot be deleted: every value stored under it would be lost. "
            "Disable it instead, with envelope_fields.lifecycle.disable().",
            {row},
        )


class VersionIdField(models.BinaryField):  # type: ignore[type-arg]
    """The 8 bytes by which an envelope names its key version."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 8
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_length"]
        return name, path, args, kwargs

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        # MariaDB and MySQL make no plain unique index on a longblob.
        return "varbinary(8)" if connection.vendor == "mysql" else super().db_type(connection)


class KeyRowQuerySet(models.QuerySet[_Row]):
    """Announces the changes that send no signal."""

    def update(self, **kwargs: Any) -> int:
        changed = super().update(**kwargs)
        key_changes.announce(self.db)
        return changed

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> list[_Row]:
        rows = super().bulk_create(objs, *args, **kwargs)
        key_changes.announce(self.db, _new_versions(*rows))
        return rows


class MasterKey(models.Model):
    """A key that wraps data keys, under an alias that fields name (KMS: key and alias in one)."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid.uuid4, editable=False)
    alias = models.CharField(  # noqa: DJ001 - empty is no alias, and only NULL may repeat
        _("alias"),
        max_length=200,
        unique=True,
        null=True,  # a destroyed key leaves its alias to others
        validators=[
            RegexValidator(
                r"\A[A-Za-z0-9][A-Za-z0-9/_.:@-]*\Z",
                _("An alias has letters, digits and / _ . : @ - and begins with one of the first."),
            )
        ],
    )
    description = models.TextField(_("description"), blank=True)
    usage = models.CharField(
        _("usage"), max_length=32, choices=KeyUsage, default=KeyUsage.ENCRYPT_DECRYPT
    )
    state = models.CharField(_("state"), max_length=16, choices=KeyState, default=KeyState.ENABLED)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects: ClassVar[models.Manager[MasterKey]] = KeyRowQuerySet["MasterKey"].as_manager()

    class Meta:
        verbose_name = _("master key")
        verbose_name_plural = _("master keys")
        ordering: ClassVar = ["alias"]

    def __str__(self) -> str:
        return self.alias or str(self.id)

    @property
    def current_version(self) -> MasterKeyVersion:
        """The version under which values are written: the one with the highest number."""
        # Never from a replica, which may not have heard of it yet.
        return self.versions.using(self._state.db).order_by("-number")[0]


class MasterKeyVersion(models.Model):
    """One generation of a master key's material, stored only as a root key wrapped it."""

    master_key = models.ForeignKey(
        MasterKey,
        on_delete=models.DO_NOTHING,  # whatever is deleted refuses by itself: see below
        related_name="versions",
        verbose_name=_("master key"),
    )
    version_id = VersionIdField(_("version id"), unique=True, editable=False)
    number = models.PositiveIntegerField(_("number"), editable=False)
    state = models.CharField(_("state"), max_length=16, choices=KeyState, default=KeyState.ENABLED)
    wrapped_material = models.BinaryField(_("wrapped material"), editable=False)
    root_key = models.CharField(_("root key"), max_length=ROOT_KEY_NAME_LENGTH, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects: ClassVar[models.Manager[MasterKeyVersion]] = KeyRowQuerySet[
        "MasterKeyVersion"
    ].as_manager()

    class Meta:
        verbose_name = _("master key version")
        verbose_name_plural = _("master key versions")
        ordering: ClassVar = ["master_key", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["master_key", "number"], name="envelope_fields_version_number"
            )
        ]

    def __str__(self) -> str:
        return f"{self.master_key} version {self.number} ({bytes(self.version_id).hex()})"

    def __repr__(self) -> str:
        return f"<MasterKeyVersion: {bytes(self.version_id).hex()}>"


def _new_versions(*rows: models.Model) -> list[bytes]:
    return [bytes(row.version_id) for row in rows if isinstance(row, MasterKeyVersion)]


def _announce_saved(*, instance: models.Model, created: bool, using: str, **_: Any) -> None:
    key_changes.announce(using, _new_versions(instance) if created else ())


def _refuse_deletion(*, instance: models.Model, **_: Any) -> None:
    # QuerySet.delete() and cascades do not call Model.delete(); they do send this signal.
    raise KeyRowProtected(instance)


for _model in (MasterKey, MasterKeyVersion):
    post_save.connect(_announce_saved, sender=_model, dispatch_uid="envelope_fields.announce")
    pre_delete.connect(_refuse_deletion, sender=_model, dispatch_uid="envelope_fields.protect")
