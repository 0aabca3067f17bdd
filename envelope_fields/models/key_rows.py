"""What rows of keys have in common: states, version ids, names of principals, and protection.

Principals are named by type and primary key as text, without foreign keys. Changes of rows are
announced, and a row is never deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_save, pre_delete
from django.utils.translation import gettext_lazy as _

from envelope_fields.databases import database_of
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import key_changes

_Row = TypeVar("_Row", bound=models.Model)

PRINCIPAL_TYPE_LENGTH = 100
PRINCIPAL_ID_LENGTH = 64


class KeyState(models.TextChoices):
    """The states of a master key and of each of its versions, as KMS names them."""

    ENABLED = "enabled", _("enabled")
    DISABLED = "disabled", _("disabled")
    PENDING_DELETION = "pending_deletion", _("pending deletion")
    DESTROYED = "destroyed", _("destroyed")


class KeyUsage(models.TextChoices):
    """What the material of a master key is for; it is bound into the wrapping (KMS KeyUsage)."""

    ENCRYPT_DECRYPT = "encrypt_decrypt", _("encrypt and decrypt")
    GENERATE_VERIFY_MAC = "generate_verify_mac", _("generate and verify MACs")


class KeyManager(models.TextChoices):
    """Whose a master key is (KMS: KeyManager).

    One that the application manages serves all who have access to the application, as an
    AWS-managed key serves its service. One of a customer serves the grantees of its grants.
    """

    APPLICATION = "application", _("the application")
    CUSTOMER = "customer", _("a customer")


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


class KeyRowProtected(models.ProtectedError, EnvelopeError):
    """Key rows are never deleted: values under them could not be read any more."""

    def __init__(self, row: models.Model) -> None:
        super().__init__(
            f"{row} cannot be deleted: every value stored under it would be lost. "
            "Disable it instead, with envelope_fields.lifecycle.disable().",
            {row},
        )


class KeyRowQuerySet(models.QuerySet[_Row]):
    """Announces the changes that send no signal."""

    def update(self, **kwargs: Any) -> int:
        self._refuse_written_once(kwargs)
        changed = super().update(**kwargs)
        key_changes.announce(self.db)
        return changed

    def bulk_create(
        self,
        objs: Any,
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Any = None,
        unique_fields: Any = None,
    ) -> list[_Row]:
        self._refuse_written_once(update_fields or ())
        rows = super().bulk_create(
            objs, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
        )
        key_changes.announce(self.db, _new_versions(*rows))
        return rows

    def _refuse_written_once(self, names: Iterable[str]) -> None:
        final = set(names) & getattr(self.model, "WRITTEN_ONCE", frozenset())
        if final:
            raise EnvelopeError(f"{', '.join(sorted(final))}: who made a key is written once.")


def _new_versions(*rows: models.Model) -> list[bytes]:
    """Return the ids of those rows that are key versions."""
    return [bytes(row.version_id) for row in rows if hasattr(row, "version_id")]


def _announce_saved(*, instance: models.Model, created: bool, using: str, **_: Any) -> None:
    key_changes.announce(using, _new_versions(instance) if created else ())


def _refuse_deletion(*, instance: models.Model, **_: Any) -> None:
    # QuerySet.delete() and cascades do not call Model.delete(); they do send this signal.
    raise KeyRowProtected(instance)


def announce_saved(model: type[models.Model]) -> None:
    """Announce what is saved of a model's rows."""
    post_save.connect(_announce_saved, sender=model, dispatch_uid="envelope_fields.announce")


def protect(model: type[models.Model]) -> None:
    """Announce what is saved of a model's rows, and refuse to delete them."""
    announce_saved(model)
    pre_delete.connect(_refuse_deletion, sender=model, dispatch_uid="envelope_fields.protect")
