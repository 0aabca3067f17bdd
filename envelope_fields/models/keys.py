"""Master keys and their versions: state and constraints. No plaintext key comes near here."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from envelope_fields.conf import WRAPPING_KEY_ID_LENGTH
from envelope_fields.conf.backends import ROOT_KEY_NAME_LENGTH
from envelope_fields.databases import database_of
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.models.choices import KeyManager, KeyState, KeyUsage, SecondsField
from envelope_fields.models.key_changes import KeyRowQuerySet, keep, protect

PRINCIPAL_TYPE_LENGTH = 100
PRINCIPAL_ID_LENGTH = 64
DEFAULT_ALIAS = "default"
_SHORTEST_PERIOD, _LONGEST_PERIOD = 90, 2560  # days; KMS: RotationPeriodInDays


def stored_bytes(value: object) -> bytes:
    """Return the bytes in a binary column; none where it holds something else, as on SQLite."""
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""


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
        return database_of(connection).indexed_bytes(8) or super().db_type(connection)

    def from_db_value(self, value: Any, *_: Any) -> bytes | None:
        return None if value is None else stored_bytes(value)


class MasterKey(models.Model):
    """A key that wraps data keys, under an alias that fields name (KMS: key and alias in one)."""

    id = models.UUIDField(_("id"), primary_key=True, default=uuid.uuid4, editable=False)
    alias = models.CharField(  # noqa: DJ001 - empty is not an alias, and only NULL may repeat
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
    managed_by = models.CharField(
        _("managed by"), max_length=16, choices=KeyManager, default=KeyManager.CUSTOMER
    )
    application_use = models.BooleanField(
        _("application use"),
        default=True,
        help_text=_("Whether the application itself may encrypt and decrypt under this key."),
    )
    rotation_period = models.PositiveSmallIntegerField(
        _("rotation period"),
        null=True,
        blank=True,
        validators=[MinValueValidator(_SHORTEST_PERIOD), MaxValueValidator(_LONGEST_PERIOD)],
        help_text=_("In days, from 90 to 2560. Empty: the key rotates on demand only."),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    state_changed_at = models.DateTimeField(
        _("state changed at"), default=timezone.now, editable=False
    )
    deletion_at = models.DateTimeField(_("deletion at"), null=True, editable=False)
    destroyed_at = models.DateTimeField(_("destroyed at"), null=True, editable=False)
    # Who made it, named as grants name users; written once. Processes of an earlier release, which
    # know none of these three, leave them to the database.
    creator_type = models.CharField(
        _("creator type"),
        max_length=PRINCIPAL_TYPE_LENGTH,
        default="application",
        db_default="application",
        editable=False,
    )
    creator_id = models.CharField(
        _("creator id"),
        max_length=PRINCIPAL_ID_LENGTH,
        default="",
        db_default="",
        blank=True,
        editable=False,
    )
    serves_fields = models.BooleanField(
        _("serves fields"),
        default=True,
        db_default=True,
        editable=False,
        help_text=_("Whether fields that name its alias may write under it."),
    )
    root_key = models.CharField(  # noqa: DJ001 - empty is not a name
        _("root key"),
        max_length=ROOT_KEY_NAME_LENGTH,
        null=True,
        editable=False,
        help_text=_("What wraps its versions. Empty: the first root key of the settings."),
    )

    WRITTEN_ONCE: ClassVar = frozenset({"creator_type", "creator_id"})

    objects: ClassVar[models.Manager[MasterKey]] = KeyRowQuerySet["MasterKey"].as_manager()

    class Meta:
        verbose_name = _("master key")
        verbose_name_plural = _("master keys")
        ordering: ClassVar = ["alias"]
        default_permissions = ("add", "change", "view")  # keys are never deleted
        permissions: ClassVar = [
            ("rotate_masterkey", "Can rotate master key"),
            ("enable_masterkey", "Can enable master key"),
            ("disable_masterkey", "Can disable master key"),
            ("schedule_deletion_masterkey", "Can schedule deletion of master key"),
            ("cancel_deletion_masterkey", "Can cancel deletion of master key"),
            ("shred_masterkey", "Can shred master key"),
            ("move_alias_masterkey", "Can move alias of master key"),
            ("use_masterkey", "Can encrypt and decrypt with master key over HTTP"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(rotation_period__isnull=True)
                | models.Q(rotation_period__range=(_SHORTEST_PERIOD, _LONGEST_PERIOD)),
                name="envelope_fields_rotation_period",
            )
        ]

    def __str__(self) -> str:
        return self.alias or str(self.id)

    def _do_update(self, base_qs: Any, using: Any, pk_val: Any, values: Any, *more: Any) -> Any:
        values = [value for value in values if value[0].attname not in self.WRITTEN_ONCE]
        update: Any = super()._do_update
        return update(base_qs, using, pk_val, values, *more)

    @property
    def current_version(self) -> MasterKeyVersion:
        """The version under which values are written: the highest number that was opened once.

        Where none was, nothing can be written, and the first one is the next to be current.
        """
        # Never from a replica, which may not have heard of it yet.
        versions = self.versions.using(self._state.db)
        opened = versions.filter(opened_at__isnull=False).order_by("-number").first()
        first = opened or versions.order_by("number").first()
        if first is None:
            raise self.without_versions()
        return first

    def without_versions(self) -> MasterKeyNotFound:
        """Return the error for a key that has no version any more: none is made without."""
        return MasterKeyNotFound(
            f"The master key {self} has no version in the database {self._state.db!r}: the rows "
            "are gone. Restore them from a backup of the keys."
        )


OVERWRITTEN = b""  # what wrapped material is replaced by when it is destroyed


class WrappedMaterial(models.Model):
    """Key material as a root key wrapped it; no plaintext of it is ever stored."""

    version_id = VersionIdField(_("version id"), unique=True, editable=False)
    wrapped_material = models.BinaryField(_("wrapped material"), editable=False)
    root_key = models.CharField(_("root key"), max_length=ROOT_KEY_NAME_LENGTH, editable=False)
    # What the root key wrapped with, in its own words: a service has versions of its keys, too.
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
        abstract = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {bytes(self.version_id).hex()}>"


class MasterKeyVersion(WrappedMaterial):
    """One generation of a master key's material, stored only as a root key wrapped it."""

    master_key = models.ForeignKey(
        MasterKey,
        on_delete=models.DO_NOTHING,  # whatever is deleted refuses by itself: see below
        related_name="versions",
        verbose_name=_("master key"),
    )
    number = models.PositiveIntegerField(_("number"), editable=False)
    state = models.CharField(_("state"), max_length=16, choices=KeyState, default=KeyState.ENABLED)
    # A version that no process has opened serves nothing: maybe none can.
    opened_at = models.DateTimeField(_("opened at"), null=True, editable=False)
    state_changed_at = models.DateTimeField(
        _("state changed at"), default=timezone.now, editable=False
    )
    deletion_at = models.DateTimeField(_("deletion at"), null=True, editable=False)
    destroyed_at = models.DateTimeField(_("destroyed at"), null=True, editable=False)

    objects: ClassVar[models.Manager[MasterKeyVersion]] = KeyRowQuerySet[
        "MasterKeyVersion"
    ].as_manager()

    class Meta:
        verbose_name = _("master key version")
        verbose_name_plural = _("master key versions")
        ordering: ClassVar = ["master_key", "number"]
        default_permissions = ()  # versions are seen and changed with their key
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["master_key", "number"], name="envelope_fields_version_number"
            )
        ]

    def __str__(self) -> str:
        return f"{self.master_key} version {self.number} ({bytes(self.version_id).hex()})"


class FurtherWrap(WrappedMaterial):
    """The material of a key version as one more root key wrapped it: either opens.

    A version of a master key, or the key of the audit trail. It is named by its id, by which it is
    the same in every database. What is empty was overwritten.
    """

    version_id = VersionIdField(_("version id"), editable=False)

    class Meta:
        verbose_name = _("further wrap")
        verbose_name_plural = _("further wraps")
        ordering: ClassVar = ["pk"]
        default_permissions = ()  # they are seen and changed with their key
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["version_id", "root_key"], name="envelope_fields_further_wrap"
            )
        ]

    def __str__(self) -> str:
        return f"version {bytes(self.version_id).hex()}, wrapped by {self.root_key}"


class KeyCacheBound(models.Model):
    """For how long any process may go by what it has read of keys: one row, once there is one.

    It is the largest `KEY_CACHE_SECONDS` that a process started with since it was last lowered.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seconds = SecondsField(_("seconds"))
    lowered_at = models.DateTimeField(_("lowered at"), null=True)
    seconds_before = SecondsField(_("seconds before that"), default=0)

    class Meta:
        verbose_name = _("bound of key caches")
        verbose_name_plural = _("bounds of key caches")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.seconds:g} s"


protect(MasterKey)
protect(MasterKeyVersion)
keep(FurtherWrap)  # nothing that is known of keys follows from it
