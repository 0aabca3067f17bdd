"""Rows that are added and never changed: what Django would do to them otherwise is refused.

The database refuses it too, by triggers (migration `0004`): this is for the clear words.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from django.db import models
from django.db.models.signals import pre_delete, pre_save

from envelope_fields.exceptions import EnvelopeError

_Row = TypeVar("_Row", bound=models.Model)


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


def protect(model: type[models.Model]) -> None:
    """Refuse to save rows of a model that are there, and to delete any."""
    pre_save.connect(_refuse_change, sender=model, dispatch_uid="envelope_fields.append_only")
    pre_delete.connect(_refuse_deletion, sender=model, dispatch_uid="envelope_fields.append_only")


def keep(model: type[models.Model]) -> None:
    """Refuse to delete rows of a model that the trail could not go on without."""
    pre_delete.connect(_refuse_loss, sender=model, dispatch_uid="envelope_fields.append_only")
